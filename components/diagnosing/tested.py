"""Signs on test records: whether an evaluation can be trusted, and what it found."""

from dataclasses import dataclass

import numpy as np

from components.diagnosing import Answer, Check, graded


@dataclass(frozen=True)
class Findings:
    """What the checks look at."""

    metrics: dict[str, float]
    """metrics.json of this evaluation."""
    weight_change: float | None
    """Relative distance of the weights from where they started; None for closed-form models."""
    scores: np.ndarray
    """Scores of all test records (record,)."""
    distinct_records: int
    """Test records that differ from each other."""


def untrained(findings: Findings) -> Answer | None:
    """Squared error relative to the same network before training; weights that did not move decide alone."""
    if findings.weight_change is None or "untrained_mse" not in findings.metrics:
        return None
    if findings.weight_change < 1e-3:  # one step of Adam moves weights further
        return Answer("problem", findings.weight_change)
    return graded(findings.metrics["mse"] / findings.metrics["untrained_mse"], 0.5, 0.9)


def indistinct_scores(findings: Findings) -> Answer:
    """Share of distinct test records whose score is also another record's."""
    shared = 1 - len(np.unique(findings.scores)) / findings.distinct_records
    return graded(max(shared, 0.0), 0.1, 0.5)  # float32 lets some coincide by chance


def not_finite(findings: Findings) -> Answer:
    """Test records whose score is no finite number."""
    return graded(int((~np.isfinite(findings.scores)).sum()), 1, 1)


def worse_than_pca(findings: Findings) -> Answer | None:
    """Squared error relative to PCA at the same code size; a problem when the whole interval lies above 1."""
    if findings.weight_change is None:
        return None
    value, low, high = (findings.metrics[f"mse_ratio_to_pca{end}"] for end in ("", "_low", "_high"))
    return Answer("problem" if low >= 1 else "warning" if high >= 1 else "ok", value)


def overfit(findings: Findings) -> Answer:
    """Share of unseen normal records with an error above the 95th percentile of training errors.

    It is 0.05 for a model that knows unseen records as well as those it saw, whatever the loss and its scale. The
    verdict looks at the interval's lower end.
    """
    low = findings.metrics["training_rule_false_alarm_rate_low"]
    return Answer(graded(low, 0.1, 0.25).verdict, findings.metrics["training_rule_false_alarm_rate"])


def not_exchangeable(findings: Findings) -> Answer:
    """p-value of the test that normal test records score like calibration records; rarely this small by chance."""
    p = findings.metrics["exchangeability_p"]
    return Answer("warning" if p < 0.01 else "ok", p)


CHECKS: tuple[Check[Findings], ...] = (
    Check(
        "untrained",
        "Training achieved little: the error is close to that of the untrained network",
        "raise train.learning_rate or train.epochs; look at the loss curves",
        untrained,
    ),
    Check(
        "indistinct_scores",
        "Different records get the same score",
        "look for a dead network: lower train.learning_rate, use wider layers, check the scaling of the data",
        indistinct_scores,
    ),
    Check(
        "not_finite",
        "Scores are not finite",
        "lower train.learning_rate or train.clip_norm; look for extreme values in the data",
        not_finite,
    ),
    Check(
        "worse_than_pca",
        "PCA with the same code size reconstructs no worse",
        "train longer, change learning rate or widths, or use PCA: it is simpler",
        worse_than_pca,
    ),
    Check(
        "overfit",
        "Unseen normal records are reconstructed much worse than training records",
        "add records, or use a smaller code, narrower layers, more weight decay or early stopping (train.patience)",
        overfit,
    ),
    Check(
        "not_exchangeable",
        "Normal test records score unlike calibration records, so that the promise about false alarms is not theirs",
        "let prepare.pool merge a source's own test split with the rest, or calibrate on records like those of test",
        not_exchangeable,
    ),
)

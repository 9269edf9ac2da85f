"""Probes: how well simple classifiers read a record's class off its code, its values, and PCA's code.

Paper: Alain and Bengio, "Understanding Intermediate Layers Using Linear Classifier Probes", ICLR workshop 2017.
Probes are scikit-learn's, on values standardised by train; each is fitted to train with several settings, of which
validation chooses one, and test, which chose nothing, says how good it is. Anomalous classes, which train does not
know, take no part.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from components.analyses import AnalysisEntry, AnalysisParams
from components.analysing.outcome import Outcome, Picture, Table
from components.analysing.subject import Subject
from components.comparing.wording import percent
from components.reporting.analysis_plots import intervals
from components.scoring.metrics import Estimate, exact_rate

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin

_MOST_STEPS = 1000  # of the solver; a probe that has not converged by then is good enough to compare


class Params(AnalysisParams):
    """The settings that validation chooses among."""

    strengths: list[Annotated[float, Field(gt=0, le=1e6)]] = Field([0.01, 0.1, 1.0, 10.0], min_length=1)
    """Inverse strengths of the logistic probe's penalty, the simplest probe first."""
    neighbours: list[Annotated[int, Field(ge=1, le=1000)]] = Field([15, 5, 3, 1], min_length=1)
    """Neighbours that vote, the simplest probe first."""


def _logistic(strength: float, seed: int) -> "ClassifierMixin":
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=_MOST_STEPS, random_state=seed)


def _neighbours(count: int, _: int) -> "ClassifierMixin":
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(count)


def run(params: Params, subject: Subject) -> Outcome:
    """Fit every probe in every space.

    Raises:
        NotApplicableError: train does not hold several labelled classes.
    """
    splits = subject.labelled()
    labels = [split.labels for split in splits]
    neighbours = [count for count in params.neighbours if count <= len(labels[0])] or [1]
    kinds = {"logistic": (_logistic, params.strengths), "kNN": (_neighbours, neighbours)}
    spaces = [split.spaces() for split in splits]
    headings = ("probe", "reads", "values", "setting", "validation", "test", "low", "high")
    rows: list[tuple[Any, ...]] = []
    accuracies: dict[str, dict[str, Estimate]] = {kind: {} for kind in kinds}
    for kind, (make, settings) in kinds.items():
        for space in spaces[0]:
            values = standardised([of[space] for of in spaces])
            setting, chosen_at, hits = probe(make, settings, values, labels, subject.seed)
            accuracy = accuracies[kind][space] = exact_rate(hits, len(labels[2]))
            rows.append((kind, space, values[0].shape[1], setting, chosen_at, *accuracy))
    bars = {f"{kind} on {space}": one for kind, of in accuracies.items() for space, one in of.items()}
    told = "; ".join(
        f"{kind} {', '.join(f'{percent(one.value)} ({space})' for space, one in of.items())}"
        for kind, of in accuracies.items()
    )
    figure = intervals("Accuracy of probes on test", "share of records", bars)
    return Outcome(
        answer=f"Classes read right of {len(labels[2])} test records: {told}.",
        numbers={
            name: value
            for bar, accuracy in bars.items()
            for name, value in accuracy.named(bar.replace(" on ", "_").lower()).items()
        },
        tables={"probes": Table("Probes and the setting that validation chose", headings, rows)},
        pictures={"probes": Picture(figure, "Each with its 95 % interval.", f"Accuracy on test: {told}.")},
    )


def standardised(splits: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Values (record, value) of each split with the first one's mean 0 and deviation 1; constant values stay at 0."""
    mean, deviation = splits[0].mean(0), splits[0].std(0)
    return [(values - mean) / np.where(deviation > 0, deviation, 1) for values in splits]


def probe(
    make: "Callable[[Any, int], ClassifierMixin]",
    settings: Sequence[Any],
    values: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    seed: int,
) -> tuple[Any, float, int]:
    """The setting that is best on validation (the first of equals), its accuracy there, and its hits on test.

    Args:
        make: (setting, seed) to an unfitted classifier.
        settings: to choose among.
        values: of train, validation and test (record, value).
        labels: of the same (record,).
    """
    from sklearn.exceptions import ConvergenceWarning

    fitted = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for setting in settings:
            classifier = make(setting, seed).fit(values[0], labels[0])
            fitted.append((float((classifier.predict(values[1]) == labels[1]).mean()), setting, classifier))
    accuracy, setting, classifier = max(fitted, key=lambda one: one[0])
    return setting, accuracy, int((classifier.predict(values[2]) == labels[2]).sum())


ANALYSIS = AnalysisEntry(
    run, Params, "Probes", "How well do simple classifiers read the class off the code, the record, and PCA's code?"
)

"""Metrics equal their references, and intervals have the width that theory gives them.

References: scikit-learn for rankings (ties included; a resample is a vector of sample weights), scipy for exact
intervals and tails, torch for losses, the delta method and DeLong's variance for the bootstraps.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from components.scoring import metrics
from components.scoring.metrics import (
    alarm_tails,
    exact_rate,
    mean_ratio,
    ranking,
    ranking_from_counts,
    record_errors,
)


def reference(scores: np.ndarray, anomalous: np.ndarray, weights: np.ndarray | None = None) -> dict[str, float]:
    """scikit-learn's three rankings."""
    false, hits, _ = roc_curve(anomalous, scores, sample_weight=weights, drop_intermediate=False)
    return {
        "auroc": roc_auc_score(anomalous, scores, sample_weight=weights),
        "average_precision": average_precision_score(anomalous, scores, sample_weight=weights),
        "fpr_at_95_tpr": false[np.argmax(hits >= 0.95 - 1e-12)],
    }


def two_kinds(normal: int, anomalous: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping scores of two kinds, with ties."""
    generator = np.random.default_rng(seed)
    scores = np.concatenate([generator.normal(0, 1, normal), generator.normal(1.2, 1, anomalous)])
    return np.round(scores, 1).astype(np.float32), np.arange(normal + anomalous) >= normal


@settings(deadline=None)  # the machine may be busy
@given(
    normal=st.lists(st.integers(0, 9), min_size=1, max_size=40),
    anomalous=st.lists(st.integers(0, 9), min_size=1, max_size=40),
)
def test_rankings_equal_scikit_learns_with_ties(normal: list[int], anomalous: list[int]) -> None:
    scores, labels = np.float32(normal + anomalous), np.arange(len(normal) + len(anomalous)) >= len(normal)
    found = ranking(scores, labels, resamples=2, seed=0)
    assert {name: estimate.value for name, estimate in found.items()} == pytest.approx(reference(scores, labels))


def test_a_resample_equals_scikit_learn_with_counts_as_weights() -> None:
    scores, labels = two_kinds(60, 40)
    levels, level = np.unique(scores, return_inverse=True)
    generator = np.random.default_rng(3)
    for _ in range(50):
        counts = np.concatenate([generator.multinomial(60, [1 / 60] * 60), generator.multinomial(40, [1 / 40] * 40)])
        sides = [np.bincount(level[kind], counts[kind], len(levels)).astype(int)[None] for kind in (~labels, labels)]
        found = {name: values[0] for name, values in ranking_from_counts(*sides).items()}
        assert found == pytest.approx(reference(scores, labels, counts))


def test_rankings_of_separated_and_of_equal_scores() -> None:
    labels = np.array([False] * 5 + [True] * 5)
    perfect = ranking(np.arange(10.0), labels, 50, 0)
    assert [tuple(perfect[name]) for name in perfect] == [(1, 1, 1), (1, 1, 1), (0, 0, 0)]
    blind = ranking(np.ones(10), labels, 50, 0)
    assert [tuple(blind[name]) for name in blind] == [(0.5, 0.5, 0.5), (0.5, 0.5, 0.5), (1, 1, 1)]


def test_scores_that_are_no_number_rank_highest() -> None:
    scores, labels = np.array([0.0, 1.0, 2.0, np.nan, np.inf]), np.array([False, False, False, True, True])
    assert ranking(scores, labels, 10, 0)["auroc"].value == 1


def test_the_interval_of_auroc_has_delongs_width() -> None:
    scores, labels = two_kinds(400, 300)
    normal, anomalous = scores[~labels], scores[labels]
    wins = (anomalous[:, None] > normal).astype(float) + (anomalous[:, None] == normal) / 2
    error = np.sqrt(wins.mean(1).var(ddof=1) / 300 + wins.mean(0).var(ddof=1) / 400)
    value, low, high = ranking(scores, labels, 4000, 0)["auroc"]
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    assert low < value < high


def test_the_interval_of_a_ratio_has_the_delta_methods_width() -> None:
    generator = np.random.default_rng(1)
    below = generator.gamma(4, 1, 800)
    above = 0.7 * below + generator.gamma(2, 0.1, 800)
    value, low, high = mean_ratio(above, below, 4000, 0)
    assert value == pytest.approx(above.mean() / below.mean())
    error = (above - value * below).std() / below.mean() / 800**0.5
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    # paired: records that are hard for both do not widen the interval, a model beside itself has none
    assert tuple(mean_ratio(below, below, 200, 0)) == (1, 1, 1)


def test_resamples_depend_on_the_seed_and_not_on_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, labels = two_kinds(50, 30)
    whole, ratio = ranking(scores, labels, 300, 5), mean_ratio(scores[:50], scores[30:], 300, 5)
    assert ranking(scores, labels, 300, 6) != whole
    monkeypatch.setattr(metrics, "_CHUNK", 1000)
    assert ranking(scores, labels, 300, 5) == whole
    assert mean_ratio(scores[:50], scores[30:], 300, 5) == ratio


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 40), (3, 40), (40, 40), (51, 1000), (500, 10_000)])
def test_exact_rates_equal_scipys(hits: int, n: int) -> None:
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="exact")
    assert tuple(exact_rate(hits, n)) == pytest.approx((hits / n, expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(
    ("alarms", "records", "n", "m"), [(0, 10, 19, 1), (3, 10, 19, 1), (25, 207, 207, 10), (9, 9, 99, 5)]
)
def test_alarm_tails_equal_scipys_beta_binomial(alarms: int, records: int, n: int, m: int) -> None:
    expected = stats.betabinom(records, m, n + 1 - m)
    assert alarm_tails(alarms, records, n, m) == pytest.approx(
        (expected.sf(alarms - 1), expected.cdf(alarms)), rel=1e-8
    )


def test_a_kept_promise_is_called_broken_no_more_often_than_declared() -> None:
    generator = np.random.default_rng(0)
    n = records = 207
    m, repeats = 10, 4000
    calibration = np.sort(generator.random((repeats, n)), axis=1)
    alarms = (generator.random((repeats, records)) > calibration[:, [n - m]]).sum(1)
    called = {k: alarm_tails(int(k), records, n, m)[0] < 0.05 for k in np.unique(alarms)}
    assert np.mean([called[k] for k in alarms]) < 0.06


def test_record_errors_equal_torchs() -> None:
    generator = torch.Generator().manual_seed(0)
    x, x_hat = (torch.rand(7, 50, generator=generator) for _ in range(2))
    found = record_errors(x.numpy(), x_hat.numpy(), peak=1.0, probabilities=True)
    expected = {
        "l1": F.l1_loss(x_hat, x, reduction="none"),
        "huber": F.huber_loss(x_hat, x, reduction="none", delta=0.1),
        "bce": F.binary_cross_entropy(x_hat, x, reduction="none"),
    }
    for name, values in expected.items():
        assert found[name] == pytest.approx(values.mean(1).numpy(), rel=1e-5), name
    squared = F.mse_loss(x_hat, x, reduction="none").mean(1)
    assert found["psnr"] == pytest.approx((-10 * squared.log10()).numpy(), rel=1e-5)


def test_errors_of_perfect_and_of_saturated_reconstructions_stay_finite() -> None:
    x = np.array([[0.0, 1.0, 1.0]], dtype=np.float32)
    perfect = record_errors(x, x, 1.0, probabilities=True)
    assert (perfect["l1"], perfect["huber"], perfect["psnr"]) == (0, 0, 120)
    assert record_errors(x, 1 - x, 1.0, probabilities=True)["bce"] == pytest.approx(-np.log(1e-7))
    assert "bce" not in record_errors(x, x, 1.0, probabilities=False)


def test_psnr_and_huber_follow_the_range() -> None:
    x, x_hat = np.random.default_rng(0).random((2, 5, 20))
    small, large = record_errors(x, x_hat, 1.0, False), record_errors(255 * x, 255 * x_hat, 255.0, False)
    assert large["psnr"] == pytest.approx(small["psnr"])
    assert large["huber"] == pytest.approx(255**2 * small["huber"])

"""Promises are kept on exchangeable records, at every alpha at once and in batches, and breaches are noticed.

References: the beta-binomial distribution (scipy), orderings drawn by sorting, scipy's tests; and the usual rule, a
percentile of training errors, which the same records show to miss. Shuffling one pool of distinct scores makes every
interleaving of calibration and test equally likely, so that each shuffle is a draw of its own whatever the scores are.
"""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.decomposition import PCA

from components.scoring.conformal import Calibration, p_values
from components.scoring.metrics import alarm_tails
from components.scoring.multiple import discoveries
from components.scoring.validity import Validity, alarm_counts, exchangeability, histogram, validity

SIZES = [100, 500, 2000]
RESAMPLES, ALPHA = 200, 0.05


@pytest.fixture(scope="module")
def overfitted() -> tuple[np.ndarray, np.ndarray]:
    """Errors of a PCA that knows its 1,000 training records too well: of those, and of a pool that it never saw."""
    records = np.random.default_rng(0).normal(size=(5000, 100))
    model = PCA(20, svd_solver="full").fit(records[:1000])
    errors = np.square(records - model.inverse_transform(model.transform(records))).mean(1).astype(np.float32)
    return errors[:1000], errors[1000:]


@pytest.mark.parametrize("n", SIZES)
def test_alarms_keep_their_rate_over_shuffles_of_a_pool_and_the_usual_rule_does_not(
    overfitted: tuple[np.ndarray, np.ndarray], n: int
) -> None:
    seen, pool = overfitted
    generator, records = np.random.default_rng(n), 1000
    usual, ours, conditional, outside = [], [], [], 0
    for _ in range(RESAMPLES):
        drawn = generator.permutation(pool)[: n + records]
        calibration, fresh = drawn[:n], drawn[n:]
        fitted = Calibration.fit(calibration, ALPHA)
        ours.append(fitted.alarms(fresh).sum())
        conditional.append(Calibration.fit(calibration, ALPHA, 0.95).alarms(fresh).sum())
        usual.append((fresh > np.percentile(seen, 95)).sum())
        outside += min(alarm_tails(int(ours[-1]), records, n, fitted.m)) < 0.025
    alarms = stats.betabinom(records, fitted.m, n + 1 - fitted.m)
    assert np.mean(ours) == pytest.approx(alarms.mean(), abs=4 * alarms.std() / RESAMPLES**0.5)
    assert alarms.mean() <= ALPHA * records
    assert outside <= stats.binom(RESAMPLES, 0.05).ppf(0.9999)
    assert np.mean(np.array(conditional) > ALPHA * records) < np.mean(np.array(ours) > ALPHA * records)
    least = stats.binom(records, ALPHA).ppf(1 - 1e-9)
    assert min(usual) > least > np.mean(ours)  # four times what was asked for, in every single shuffle
    assert np.mean(usual) > 4 * ALPHA * records


def test_a_calibration_set_that_promises_with_confidence_exceeds_alpha_as_rarely(
    overfitted: tuple[np.ndarray, np.ndarray],
) -> None:
    _, pool = overfitted
    generator, exceeding = np.random.default_rng(1), 0
    for _ in range(RESAMPLES):
        drawn = generator.permutation(pool)
        fitted = Calibration.fit(drawn[:500], ALPHA, 0.95)
        exceeding += fitted.alarms(drawn[500:]).mean() > ALPHA
    assert exceeding <= stats.binom(RESAMPLES, 0.05).ppf(0.9999)


@pytest.mark.parametrize("n", SIZES)
def test_of_the_reported_records_at_most_the_share_q_is_normal(n: int) -> None:
    generator, q, normal, anomalous = np.random.default_rng(n), 0.1, 180, 20
    labels = np.arange(normal + anomalous) >= normal
    false, missed, by_alpha = [], [], []
    for _ in range(RESAMPLES):
        calibration = np.sort(generator.normal(size=n))
        p = p_values(calibration, generator.normal(np.where(labels, 5, 0)))
        reported = discoveries(p, q)
        false.append((reported & ~labels).sum() / max(reported.sum(), 1))
        missed.append((labels & ~reported).mean() / labels.mean())
        by_alpha.append(((p <= q) & ~labels).sum() / max((p <= q).sum(), 1))
    assert np.mean(false) <= q
    assert np.mean(by_alpha) > 3 * q  # what a threshold per record does
    if n >= 500:
        assert np.mean(missed) < 0.1  # and it is no empty promise


def test_discoveries_are_benjamini_and_hochbergs() -> None:
    p = np.array([0.01, 0.9, 0.02, 0.04, 0.033, 0.5])
    # the largest k with p_(k) <= q k / 6: 0.04 <= 0.1 * 4 / 6
    assert discoveries(p, 0.1).tolist() == [True, False, True, True, True, False]
    assert discoveries(p, 0.05).tolist() == [False] * 6
    assert discoveries(np.array([]), 0.1).tolist() == []


def test_simulated_counts_are_those_of_sorted_scores() -> None:
    n, records, m, draws = 60, 40, np.array([1, 7, 8, 30, 60]), 20_000
    found = alarm_counts(n, records, m, draws, seed=0)
    assert found.shape == (draws, 5)
    for column, count in enumerate(m):
        expected = stats.betabinom(records, count, n + 1 - count)
        assert found[:, column].mean() == pytest.approx(expected.mean(), abs=4 * expected.std() / draws**0.5)
        assert found[:, column].std() == pytest.approx(expected.std(), rel=0.03)
    # how columns go together is seen by sorting
    generator = np.random.default_rng(1)
    scores, tested = np.sort(generator.random((draws, n)), axis=1), generator.random((draws, records))
    sorted_counts = np.stack([(tested > scores[:, [n - count]]).sum(1) for count in m], axis=1)
    np.testing.assert_allclose(np.corrcoef(found.T), np.corrcoef(sorted_counts.T), atol=0.03)


def exchangeable(n: int, records: int, seed: int, shift: float = 0) -> Validity:
    generator = np.random.default_rng(seed)
    return validity(np.sort(generator.normal(size=n)), generator.normal(shift, 1, records), seed)


@pytest.mark.parametrize(("n", "records"), [(207, 203), (40, 3000), (5000, 300)])
def test_the_band_holds_95_percent_of_curves_from_end_to_end(n: int, records: int) -> None:
    found = exchangeable(n, records, 2)
    m = np.round(found.nominal * (n + 1)).astype(int)
    rates = alarm_counts(n, records, m, 20_000, seed=3) / records
    held = ((found.low <= rates) & (rates <= found.high)).all(1).mean()
    assert 0.94 < held < 0.985  # known from 10,000 draws; counts are whole, so that it may be a little more
    # while a band for each rate by itself would not
    ends = np.quantile(rates, (0.025, 0.975), axis=0)
    assert ((ends[0] <= rates) & (rates <= ends[1])).all(1).mean() < 0.9


def test_nominal_rates_reach_from_a_thousandth_to_a_half_as_far_as_records_allow() -> None:
    assert exchangeable(5000, 50, 0).nominal[[0, -1]] == pytest.approx([0.001, 0.5], rel=0.01)
    assert exchangeable(207, 50, 0).nominal[[0, -1]].tolist() == [1 / 208, 0.5]
    assert exchangeable(1, 50, 0).nominal.tolist() == [0.5]


def test_exchangeable_records_stay_inside_and_others_do_not(tmp_path: Path) -> None:
    kept, broken = exchangeable(300, 400, 4), exchangeable(300, 400, 4, shift=0.5)
    assert kept.inside.all() and kept.p_value > 0.05
    assert not broken.inside.all() and broken.p_value < 0.001
    kept.write_csv(tmp_path / "validity.csv")
    with (tmp_path / "validity.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for written, name in (("alpha", "nominal"), ("realised", "realised"), ("low", "low"), ("high", "high")):
        np.testing.assert_allclose([float(row[written]) for row in rows], getattr(kept, name))


def test_a_score_that_is_no_number_is_an_alarm_at_every_rate() -> None:
    found = validity(np.arange(99.0), np.full(10, np.nan), 0)
    assert (found.realised == 1).all()


def test_the_histogram_counts_p_values_against_its_band() -> None:
    generator = np.random.default_rng(5)
    calibration, scores = np.sort(generator.normal(size=207)), generator.normal(size=500)
    found = histogram(calibration, scores, 0)
    p = p_values(calibration, scores)
    shares = np.array(
        [((low < p) & (p <= high)).mean() for low, high in zip(found.edges, found.edges[1:], strict=False)]
    )
    np.testing.assert_allclose(found.density, shares / np.diff(found.edges))
    assert ((found.low <= found.density) & (found.density <= found.high)).all()
    crowded = histogram(calibration, scores + 1, 0)
    assert crowded.density[0] > crowded.high[0]
    assert len(histogram(np.zeros(1), scores, 0).density) == 2  # no more bins than there are p-values


def test_the_test_of_exchangeability_is_uniform_under_it_and_small_otherwise() -> None:
    generator = np.random.default_rng(6)
    p = [exchangeability(*np.split(generator.normal(size=150), [80])) for _ in range(300)]
    assert stats.kstest(p, "uniform").pvalue > 1e-4
    assert exchangeability(generator.normal(size=300), generator.normal(0.5, 1, 300)) < 1e-4
    assert exchangeability(np.arange(50.0), np.full(50, np.nan)) < 1e-9

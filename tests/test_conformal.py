"""Conformal decisions keep their promise, exactly.

References: rational arithmetic (fractions.Fraction) for every integer decision, scipy's Beta distribution for the band
of one calibration set, and simulation on exchangeable scores for the promise itself.
"""

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from components.runtime.errors import UserError
from components.scoring.conformal import Calibration, alarm_levels, alarms, allowed, p_values, smallest_n, upper_band

ALPHAS = sorted({*(k / 100 for k in range(1, 100)), *(k / 1000 for k in range(1, 92)), *(1 / k for k in range(3, 40))})
"""As a user writes them (0.05) and as a program computes them (1 / 3)."""


def rational(alpha: float) -> Fraction:
    """Alpha as it is written."""
    return Fraction(str(alpha))


def test_the_integer_form_is_exact_for_every_n_and_alpha() -> None:
    assert len(ALPHAS) >= 200
    n = np.arange(1, 2001).astype(object)  # Python's integers: exact at any size
    for alpha in ALPHAS:
        m = np.array([allowed(size, alpha) for size in range(1, 2001)], dtype=object)
        exact = rational(alpha)
        # m is the largest count with m / (n + 1) <= alpha, so m calibration scores raise no alarm and m - 1 do
        assert (m * exact.denominator <= (n + 1) * exact.numerator).all(), alpha
        assert ((m + 1) * exact.denominator > (n + 1) * exact.numerator).all(), alpha


def test_binary_floats_would_lose_an_alarm() -> None:
    assert int(100 * 0.29) == 28
    assert allowed(99, 0.29) == 29


@settings(deadline=None)  # the machine may be busy
@given(
    calibration=st.lists(st.integers(0, 12), min_size=1, max_size=60),
    scores=st.lists(st.integers(-1, 13), min_size=1, max_size=20),
    alpha=st.sampled_from(ALPHAS),
)
def test_counts_p_values_and_threshold_decide_alike(calibration: list[int], scores: list[int], alpha: float) -> None:
    n, ascending, tested = len(calibration), np.sort(np.float32(calibration)), np.float32(scores)
    exact = [Fraction(1 + sum(c >= s for c in calibration), n + 1) for s in scores]
    m = allowed(n, alpha)
    raised = alarms(ascending, m, tested)
    assert raised.tolist() == [p <= rational(alpha) for p in exact]
    assert p_values(ascending, tested).tolist() == [float(p) for p in exact]
    if m:
        assert raised.tolist() == (tested > Calibration.fit(np.float32(calibration), alpha).threshold).tolist()


def test_a_score_that_is_no_number_is_an_alarm() -> None:
    calibration = Calibration.fit(np.arange(99, dtype=np.float32), 0.05)
    assert calibration.alarms(np.float32([np.nan, np.inf, 0.0, -np.inf])).tolist() == [True, True, False, False]
    assert calibration.p_values(np.float32([np.nan, -np.inf])).tolist() == [0.01, 1.0]


@pytest.mark.parametrize(("n", "band"), [(100, 0.089), (1_000, 0.062), (10_000, 0.054)])
def test_the_upper_band_of_one_calibration_set(n: int, band: float) -> None:
    m = allowed(n, 0.05)
    assert upper_band(n, m) == pytest.approx(band, abs=5e-4)
    assert upper_band(n, m) == pytest.approx(stats.beta(m, n + 1 - m).ppf(0.95), rel=1e-10)


def test_the_promise_holds_on_exchangeable_scores() -> None:
    generator, n, alpha, sets = np.random.default_rng(0), 150, 0.1, 4000
    m = allowed(n, alpha)
    fitted = [Calibration.fit(generator.random(n, dtype=np.float32), alpha) for _ in range(sets)]
    # for uniform scores the false-alarm rate of a threshold is known: 1 - threshold
    rates = 1 - np.array([calibration.threshold for calibration in fitted])
    assert rates.mean() == pytest.approx(m / (n + 1), abs=4 * rates.std() / sets**0.5)
    assert rates.mean() <= alpha
    below = (rates < fitted[0].upper_95).mean()
    assert below == pytest.approx(0.95, abs=4 * (0.05 * 0.95 / sets) ** 0.5)
    # and the decisions realise that rate on records never seen
    seen = np.array([calibration.alarms(generator.random(200, dtype=np.float32)).mean() for calibration in fitted])
    assert seen.mean() == pytest.approx(rates.mean(), abs=4 * seen.std() / sets**0.5)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("n", [40, 207, 1000])
def test_the_conditional_promise_is_the_beta_distributions(n: int, confidence: float) -> None:
    m = np.arange(1, n + 1)
    rates = stats.beta(m, n + 1 - m)  # of one calibration set, for each m
    for alpha in (0.003, 0.01, 0.05, 0.1, 0.3, 0.5):
        keeps = rates.cdf(alpha) >= confidence
        assert allowed(n, alpha, confidence) == keeps.sum()
        assert keeps[: keeps.sum()].all()  # so that the largest m is the number of those that keep it


def test_the_conditional_promise_holds_in_as_many_calibration_sets_as_it_says() -> None:
    generator, n, alpha, confidence, sets = np.random.default_rng(3), 500, 0.05, 0.9, 4000
    draws = np.sort(generator.random((sets, n)), axis=1)
    m = allowed(n, alpha, confidence)
    # for uniform scores the rate of the m-th largest calibration score as a threshold is known
    kept, one_more = ((1 - draws[:, n - count] <= alpha).mean() for count in (m, m + 1))
    noise = 4 * (0.1 * 0.9 / sets) ** 0.5
    assert confidence - noise <= kept
    assert one_more < confidence + noise
    assert kept == pytest.approx(stats.beta(m, n + 1 - m).cdf(alpha), abs=noise)
    # while split conformal keeps its mean and exceeds alpha in about every second set
    assert (1 - draws[:, n - allowed(n, alpha)] <= alpha).mean() == pytest.approx(0.5, abs=0.05)


def test_a_conditional_calibration_says_what_it_promises(tmp_path: Path) -> None:
    scores = np.random.default_rng(4).random(400).astype(np.float32)
    fitted = Calibration.fit(scores, 0.05, 0.95)
    assert (fitted.method, fitted.m) == ("calibration_conditional", allowed(400, 0.05, 0.95))
    assert fitted.m < allowed(400, 0.05)
    assert fitted.upper_95 <= 0.05
    assert fitted.promise == "with 95 % confidence in this calibration set"
    fitted.save(tmp_path)
    assert Calibration.load(tmp_path).confidence == 0.95
    assert Calibration.fit(scores, 0.05).promise == "on average over calibration sets"


@given(st.integers(1, 400), st.sampled_from(ALPHAS), st.sampled_from([None, 0.5, 0.95]))
def test_levels_decide_at_any_alpha_as_a_new_calibration_would(n: int, alpha: float, confidence: float | None) -> None:
    levels = alarm_levels(n, confidence)
    assert levels.shape == (n,)
    assert (np.diff(levels) > 0).all()
    assert (levels <= alpha).sum() == allowed(n, alpha, confidence)


def test_ties_only_lower_the_rate() -> None:
    generator, n, sets = np.random.default_rng(1), 99, 2000
    coarse = generator.integers(0, 5, (sets, n + 1)).astype(np.float32)
    raised = [Calibration.fit(row[:-1], 0.1).alarms(row[-1:])[0] for row in coarse]
    assert np.mean(raised) <= 0.1 + 4 * (0.1 * 0.9 / sets) ** 0.5


def test_the_smallest_n_is_the_smallest() -> None:
    for alpha in ALPHAS:
        assert allowed(smallest_n(alpha), alpha) >= 1, alpha
        assert allowed(smallest_n(alpha) - 1, alpha) == 0, alpha
    for alpha, confidence in itertools.product((0.5, 0.1, 0.05, 0.003), (0.05, 0.5, 0.95, 0.999)):
        least = smallest_n(alpha, confidence)
        assert allowed(least, alpha, confidence) >= 1
        assert least == 1 or allowed(least - 1, alpha, confidence) == 0


@pytest.mark.parametrize("alpha", [0.05, 0.001, 1 / 3])
def test_too_few_records_say_how_many_are_needed(alpha: float) -> None:
    least = smallest_n(alpha)
    Calibration.fit(np.arange(least, dtype=np.float32), alpha)
    with pytest.raises(
        UserError, match=rf"^threshold\.alpha: {alpha} needs at least {least} calibration .* got {least - 1};"
    ):
        Calibration.fit(np.arange(least - 1, dtype=np.float32), alpha)


def test_too_few_records_for_a_confidence_say_so() -> None:
    # 0.95 ** 59 is the first power below 0.05
    told = r"^threshold\.alpha: 0\.05 with threshold\.confidence 0\.95 needs at least 59 calibration .* got 58;"
    with pytest.raises(UserError, match=told) as caught:
        Calibration.fit(np.arange(58, dtype=np.float32), 0.05, 0.95)
    assert allowed(58, float(caught.value.fix.split()[3]), 0.95) == 1
    assert Calibration.fit(np.arange(59, dtype=np.float32), 0.05, 0.95).m == 1


@pytest.mark.parametrize("n", [1, 5, 18, 207, 9_999])
def test_the_alpha_that_the_message_names_is_enough(n: int) -> None:
    with pytest.raises(UserError, match="raise it to ") as caught:
        Calibration.fit(np.zeros(n, dtype=np.float32), 1e-9)
    named = float(caught.value.fix.split()[3])
    assert allowed(n, named) == 1


def test_broken_scores_are_not_calibrated() -> None:
    with pytest.raises(UserError, match=r"must be finite, 2 of 40 are not .* lower train.learning_rate"):
        Calibration.fit(np.float32([np.nan, np.inf, *range(38)]), 0.05)


def test_a_saved_calibration_comes_back_exactly(tmp_path: Path) -> None:
    fitted = Calibration.fit(np.random.default_rng(2).random(57).astype(np.float32), 0.05)
    fitted.save(tmp_path)
    loaded = Calibration.load(tmp_path)
    assert (loaded.alpha, loaded.n, loaded.m, loaded.upper_95) == (0.05, 57, 2, fitted.upper_95)
    assert np.float32(loaded.threshold) == loaded.scores[-2] == np.sort(fitted.scores)[-2]
    assert loaded.scores.dtype == np.float32
    assert (loaded.scores == fitted.scores).all()


def test_a_missing_or_damaged_calibration_names_its_stage(tmp_path: Path) -> None:
    folder = tmp_path / "conv"
    folder.mkdir()
    with pytest.raises(UserError, match=r"threshold\.json: is missing; run `dvc repro threshold@conv` first"):
        Calibration.load(folder)
    Calibration.fit(np.arange(30, dtype=np.float32), 0.05).save(folder)
    (folder / "calibration_scores.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(UserError, match="conv: is damaged; run `dvc repro -f -s threshold@conv`"):
        Calibration.load(folder)
    (folder / "calibration_scores.npy").unlink()
    with pytest.raises(UserError, match=r"calibration_scores\.npy: is missing; run `dvc repro threshold@conv` first"):
        Calibration.load(folder)

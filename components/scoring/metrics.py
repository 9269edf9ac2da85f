"""Metrics, each with its uncertainty: errors of reconstruction, rates with exact intervals, rankings with bootstraps.

Papers: Clopper and Pearson, Biometrika 26, 1934; Efron, "Bootstrap Methods", Annals of Statistics 7, 1979.
Intervals hold 95 %. A resample is a vector of counts over sorted scores with ties grouped, so all resamples of a
ranking are a few cumulative sums; the numbers are scikit-learn's with the counts as sample weights.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.special import betaincinv, betaln, gammaln

CONFIDENCE = 0.95
_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
_CHUNK = 4_000_000  # counts held at once, 32 MB
_LARGEST_PSNR = 120.0  # dB; float32 resolves no smaller error, and a perfect record must not make a mean infinite


class Estimate(NamedTuple):
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float

    def named(self, name: str) -> dict[str, float]:
        """As three metrics: NAME, NAME_low, NAME_high."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


def record_errors(x: np.ndarray, x_hat: np.ndarray, peak: float, probabilities: bool) -> dict[str, np.ndarray]:
    """Errors per record beside the squared error. Shapes: (record, value) twice -> (record,) each.

    Args:
        x: scaled records.
        x_hat: their reconstructions.
        peak: range of the values; PSNR is relative to it, and Huber's delta is a tenth of it (a delta as large as
            the range would make Huber half the squared error).
        probabilities: values and reconstructions lie in 0..1, so binary cross-entropy has a meaning.
    """
    x, x_hat = x.astype(np.float64), x_hat.astype(np.float64)
    distance, delta = np.abs(x_hat - x), peak / 10
    squared = np.square(distance).mean(1)
    huber = np.where(distance <= delta, np.square(distance) / 2, delta * (distance - delta / 2))
    floor = peak**2 * 10 ** (-_LARGEST_PSNR / 10)
    errors = {
        "l1": distance.mean(1),
        "huber": huber.mean(1),
        "psnr": 10 * np.log10(peak**2 / np.maximum(squared, floor)),
    }
    if probabilities:
        sure = np.clip(x_hat, 1e-7, 1 - 1e-7)  # float32 rounds a saturated sigmoid to 0 or 1
        errors["bce"] = -(x * np.log(sure) + (1 - x) * np.log1p(-sure)).mean(1)
    return errors


def exact_rate(hits: int, n: int) -> Estimate:
    """A share of n records with its Clopper-Pearson interval."""
    low = float(betaincinv(hits, n - hits + 1, _TAILS[0])) if hits else 0.0
    high = float(betaincinv(hits + 1, n - hits, _TAILS[1])) if hits < n else 1.0
    return Estimate(hits / n, low, high)


def alarm_tails(alarms: int, records: int, n: int, m: int) -> tuple[float, float]:
    """(P(at least this many alarms), P(at most this many)) when the conformal promise holds.

    Given the calibration set the rate of alarms is Beta(m, n + 1 - m), so alarms among new exchangeable records are
    beta-binomial; a plain binomial test at alpha would take the calibration set's own luck for a broken promise.
    """
    k = np.arange(records + 1)
    log_choose = gammaln(records + 1) - gammaln(k + 1) - gammaln(records - k + 1)
    log_probability = log_choose + betaln(k + m, records - k + n + 1 - m) - betaln(m, n + 1 - m)
    probability = np.exp(log_probability)
    return min(1.0, float(probability[alarms:].sum())), min(1.0, float(probability[: alarms + 1].sum()))


def mean_ratio(numerator: np.ndarray, denominator: np.ndarray, resamples: int, seed: int) -> Estimate:
    """mean(numerator) / mean(denominator) over the same records (record,); each resample draws the same for both."""
    pairs = np.stack([numerator, denominator], axis=1).astype(np.float64)
    sums = resampled_sums(pairs, resamples, seed)
    return Estimate(float(pairs[:, 0].mean() / pairs[:, 1].mean()), *interval(sums[:, 0] / sums[:, 1]))


def resampled_sums(values: np.ndarray, resamples: int, seed: int | np.random.SeedSequence) -> np.ndarray:
    """Sums over resamples of the records, the same records for every column: (record, column) -> (resample, column)."""
    each, sizes = np.arange(len(values)), _chunk_sizes(resamples, len(values))
    return np.concatenate([counts @ values for counts in _resampled_counts(each, len(values), sizes, seed)])


def ranking(scores: np.ndarray, anomalous: np.ndarray, resamples: int, seed: int) -> dict[str, Estimate]:
    """How well scores tell anomalous from normal records: auroc, average_precision, fpr_at_95_tpr.

    The bootstrap is stratified: both kinds keep their number of records. Scores that are not a number rank highest,
    as they do in conformal decisions. Shapes: (record,) twice, both kinds present.
    """
    levels, level = np.unique(rankable(scores), return_inverse=True)
    strata = level[~anomalous], level[anomalous]
    points = ranking_from_counts(*(np.bincount(of, minlength=len(levels))[None] for of in strata))
    keys, sizes = np.random.SeedSequence(seed).spawn(2), _chunk_sizes(resamples, len(scores))
    counts = (_resampled_counts(of, len(levels), sizes, key) for of, key in zip(strata, keys, strict=True))
    drawn = [ranking_from_counts(*pair) for pair in zip(*counts, strict=True)]
    return {
        name: Estimate(float(value[0]), *interval(np.concatenate([part[name] for part in drawn])))
        for name, value in points.items()
    }


def rankable(scores: np.ndarray) -> np.ndarray:
    """The scores with an order for all of them: not a number ranks highest."""
    return np.nan_to_num(scores, nan=np.inf, posinf=np.inf, neginf=-np.inf)


def ranking_from_counts(normal: np.ndarray, anomalous: np.ndarray) -> dict[str, np.ndarray]:
    """The three rankings for each resample. Shapes: (resample, level) counts at ascending levels of score."""
    negatives, positives = normal.sum(1, keepdims=True), anomalous.sum(1, keepdims=True)
    below = normal.cumsum(1)
    # a pair at the same level counts half
    auroc = ((2 * below - normal) * anomalous).sum(1) / (2 * negatives * positives)[:, 0]
    # at or above each level, which is what an alarm from this level on would catch
    hits, false = positives - anomalous.cumsum(1) + anomalous, negatives - below + normal
    precision = hits / np.maximum(hits + false, 1)
    average_precision = (precision * anomalous).sum(1) / positives[:, 0]
    # false alarms fall with the level, so the least among levels that catch enough; in integers, 20 hits >= 19 of all
    enough = 20 * hits >= 19 * positives
    fpr = np.where(enough, false, negatives).min(1) / negatives[:, 0]
    return {"auroc": auroc, "average_precision": average_precision, "fpr_at_95_tpr": fpr}


def _chunk_sizes(resamples: int, width: int) -> list[int]:
    """The resamples, divided so that each part times `width` counts fits in memory."""
    step = max(1, _CHUNK // width)
    return [min(step, resamples - start) for start in range(0, resamples, step)]


def _resampled_counts(
    level: np.ndarray, levels: int, sizes: list[int], seed: int | np.random.SeedSequence
) -> Iterator[np.ndarray]:
    """How often each level is drawn in each resample of the records: parts (resample, level) of int64."""
    generator = np.random.default_rng(seed)
    for size in sizes:
        drawn = level[generator.integers(0, len(level), (size, len(level)))]
        drawn += levels * np.arange(size)[:, None]  # every resample counts in a row of its own
        yield np.bincount(drawn.ravel(), minlength=size * levels).reshape(size, levels)


def interval(resampled: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of resampled values (resample,), by their percentiles."""
    low, high = np.quantile(resampled, _TAILS)
    return float(low), float(high)

"""Whether records that nothing was fitted to behave as conformal p-values promise, at every alpha at once.

Papers: Säilynoja, Bürkner and Vehtari, "Graphical test for discrete uniformity and its applications in goodness-of-fit
evaluation and multiple sample comparison", Statistics and Computing 32, 2022 (the band); Smirnov, "Table for estimating
the goodness of fit of empirical distributions", Annals of Mathematical Statistics 19, 1948 (the test of two samples).

The null is that calibration and test records are exchangeable, e.g. dealt from one shuffled pool. It is known exactly:
every interleaving of their scores is equally likely, whatever the scores mean. Ties make both answers cautious.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.scoring.conformal import reached
from components.scoring.metrics import CONFIDENCE

LOWEST, HIGHEST = 0.001, 0.5
"""Nominal rates that are looked at."""
_RATES = 60
_BINS = 20
_DRAWS = 10_000


@dataclass(frozen=True)
class Validity:
    """Realised rates of alarms at nominal rates, ascending, with the band that holds all of them at once. (rate,)."""

    nominal: np.ndarray
    """m / (n + 1)."""
    realised: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_value: float
    """Share of exchangeable records whose rates stray at least as far somewhere."""

    @property
    def inside(self) -> np.ndarray:
        """(rate,) bool."""
        return (self.low <= self.realised) & (self.realised <= self.high)

    def write_csv(self, path: Path) -> None:
        """One line per nominal rate."""
        columns = (self.nominal, self.realised, self.low, self.high)
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["alpha", "realised", "low", "high"])
            writer.writerows([f"{value:.9g}" for value in row] for row in zip(*columns, strict=True))


@dataclass(frozen=True)
class Histogram:
    """How often p-values fall into bins, as multiples of what is promised, with a band that holds all at once."""

    edges: np.ndarray
    """(bin + 1,), from 0 to 1; a bin holds its upper edge."""
    density: np.ndarray
    """(bin,) as are the ends of the band; 1 where p-values are uniform."""
    low: np.ndarray
    high: np.ndarray


def validity(calibration_sorted: np.ndarray, scores: np.ndarray, seed: int) -> Validity:
    """Hold realised rates against their simultaneous 95 % band. Shapes: (n,) ascending, (record,), neither empty."""
    n, records = len(calibration_sorted), len(scores)
    first, last = max(1, round(LOWEST * (n + 1))), max(1, int(HIGHEST * (n + 1)))
    m = np.unique(np.geomspace(first, last, _RATES).round().astype(int))
    counts = _counts(calibration_sorted, scores, m)
    low, high, p_value = _band(alarm_counts(n, records, m, _DRAWS, seed), counts)
    return Validity(m / (n + 1), counts / records, low / records, high / records, p_value)


def histogram(calibration_sorted: np.ndarray, scores: np.ndarray, seed: int) -> Histogram:
    """Hold p-values against their simultaneous 95 % band. Shapes: (n,) ascending, (record,), neither empty."""
    n, records = len(calibration_sorted), len(scores)
    edges = np.linspace(0, n + 1, min(_BINS, n + 1) + 1).round().astype(int)
    inner, ends = edges[1:-1], {"prepend": 0, "append": records}
    counts = np.diff(_counts(calibration_sorted, scores, inner), **ends)
    low, high, _ = _band(np.diff(alarm_counts(n, records, inner, _DRAWS, seed), axis=1, **ends), counts)
    expected = records * np.diff(edges) / (n + 1)
    return Histogram(edges / (n + 1), counts / expected, low / expected, high / expected)


def _counts(calibration_sorted: np.ndarray, scores: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Alarms at each m: (rate,) -> (rate,)."""
    return np.searchsorted(np.sort(reached(calibration_sorted, scores)), m)


def alarm_counts(n: int, records: int, m: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """How many of the records alarm at each m, when they and n calibration records are exchangeable.

    Drawn exactly: between consecutive calibration scores lie the spacings of uniform variables, and sums of them are
    gamma variables over their total. Shapes: m (rate,) ascending, in 1..n -> (draw, rate) int64.
    """
    generator = np.random.default_rng(seed)
    shares = generator.standard_gamma(np.diff([0, *m, n + 1]), (draws, len(m) + 1))
    return generator.multinomial(records, shares / shares.sum(1, keepdims=True))[:, :-1].cumsum(1)


def _band(drawn: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The ends of a band that holds 95 % of the drawn rows from end to end, and the p-value of the found one.

    The band is of equal precision: in every column it leaves out as many of the drawn counts.
    Shapes: (draw, rate), (rate,) -> (rate,) twice.
    """
    ascending = np.sort(drawn, axis=0)
    extremes = _rarest(ascending, drawn)
    strayed, of = np.unique(extremes, return_counts=True)
    # the most draws left out at either end of a column; 0 where even the rarest count alone is too common
    out = int(strayed[of.cumsum() <= (1 - CONFIDENCE) * len(drawn)].max(initial=0))
    as_rare = int((extremes <= _rarest(ascending, counts[None])).sum())
    return ascending[out], ascending[-1 - out], (1 + as_rare) / (1 + len(drawn))


def _rarest(ascending: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """At the rate where a row of counts is the least common: the draws at or beyond it, on its side.

    Shapes: (draw, rate) with each column sorted, (row, rate) -> (row,).
    """
    rarest = np.full(len(counts), len(ascending))
    for drawn, found in zip(ascending.T, counts.T, strict=True):
        at_most = np.searchsorted(drawn, found, side="right")
        at_least = len(drawn) - np.searchsorted(drawn, found, side="left")
        rarest = np.minimum(rarest, np.minimum(at_most, at_least))
    return rarest


def exchangeability(calibration: np.ndarray, scores: np.ndarray) -> float:
    """p-value of the Kolmogorov-Smirnov test that scores (record,) are distributed like calibration scores (n,).

    It is the test that conformal p-values are uniform on 1 / (n + 1), … 1. Exact up to 10,000 of each, then
    asymptotic; scores that are not a number count as the largest.
    """
    from scipy.stats import ks_2samp

    method = "exact" if max(len(calibration), len(scores)) <= 10_000 else "asymp"
    return float(ks_2samp(calibration, np.where(np.isnan(scores), np.inf, scores), method=method).pvalue)

"""Every two candidates on the same test records: the difference, its interval, and a p-value that counts the pairs.

Squared errors: a paired bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 16), where one
draw of records serves all candidates. Areas under the ROC curve: DeLong's closed form. Among many pairs some differ by
luck; Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979) bounds the chance of even one false
"better" within a measure. Test chooses nothing here: the winner is known before.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from components.comparing.areas import place
from components.comparing.records import Records, Scored
from components.scoring.metrics import CONFIDENCE, interval, resampled_sums

LEVEL = 1 - CONFIDENCE
_RESAMPLES = 1000
_RESAMPLES_PER_PAIR = 200
"""A p-value counts resamples, so it is never below 2 / resamples: with these, corrected for all pairs, 0.01."""
_NOISE = 1e-12  # of the errors: sums of equal errors may differ in their last bits


@dataclass(frozen=True)
class Pair:
    """`first` minus `second`, by one measure."""

    first: str
    second: str
    measure: str
    """mse (less is better) or auroc (more is better)."""
    records: int
    difference: float
    low: float
    high: float
    """Ends of the 95 % interval of this one difference."""
    p: float
    """Two-sided."""
    p_adjusted: float
    """By Holm, among all pairs of the measure."""

    @property
    def better(self) -> str | None:
        """The better of the two, or None where they cannot be told apart."""
        if self.p_adjusted >= LEVEL:
            return None
        return self.first if (self.difference < 0) == (self.measure == "mse") else self.second


@dataclass(frozen=True)
class _Differences:
    """Of each pair (pair,)."""

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray


def compare_pairs(names: Sequence[str], records: Records, seed: int) -> list[Pair]:
    """All pairs of candidates by their errors on normal test records and, where there are both kinds, by their areas.

    Args:
        names: the candidates, in the order of the records' columns.
        records: what they said.
        seed: draws resamples.
    """
    if len(names) < 2:
        return []
    errors = records.test_errors[~records.test.anomalous]
    errors = errors[np.isfinite(errors).all(1)]  # a pair needs the same records on both sides
    found = [("mse", len(errors), mean_differences(errors, seed))] if len(errors) > 1 else []
    if records.test.rankable:
        found.append(("auroc", len(records.test.anomalous), area_differences(records.test)))
    both = list(itertools.combinations(names, 2))
    return [pair for measure, n, differences in found for pair in _pairs(both, measure, n, differences)]


def compare_areas(names: Sequence[str], opponent: str, scored: Scored) -> list[Pair]:
    """Each of `names` and one opponent by their areas, corrected for their number; nothing where records are too few.

    Args:
        names: the first of each pair.
        opponent: the second of all.
        scored: the opponent's scores, then theirs.
    """
    if not scored.rankable:
        return []
    first = np.arange(1, len(names) + 1)
    found = area_differences(scored, (first, np.zeros_like(first)))
    return _pairs([(name, opponent) for name in names], "auroc", len(scored.anomalous), found)


def mean_differences(errors: np.ndarray, seed: int) -> _Differences:
    """Differences of mean errors by a paired bootstrap. Shapes: (record, candidate)."""
    first, second = _indices(errors.shape[1])
    resamples = max(_RESAMPLES, _RESAMPLES_PER_PAIR * len(first))
    means, drawn = errors.mean(0), resampled_sums(errors, resamples, seed) / len(errors)
    results = []
    for one, other in zip(first, second, strict=True):
        values = drawn[:, one] - drawn[:, other]
        values[np.abs(values) <= _NOISE * (means[one] + means[other])] = 0
        beyond = min((values <= 0).sum(), (values >= 0).sum())
        # the observed draw counts as one more, so that no p-value is 0 (Davison and Hinkley, 1997, section 4.2)
        results.append((*interval(values), min(1.0, 2 * (1 + beyond) / (1 + resamples))))
    low, high, p = np.array(results).T
    return _Differences(means[first] - means[second], low, high, p)


def area_differences(scored: Scored, pairs: tuple[np.ndarray, np.ndarray] | None = None) -> _Differences:
    """Differences of areas with DeLong's covariance and a normal approximation.

    Args:
        scored: by all models.
        pairs: the first and the second of each (pair,), as columns of `scored`; all pairs where none are given.
    """
    placements = place(scored)
    areas, covariance = placements.areas, placements.covariance
    first, second = _indices(len(areas)) if pairs is None else pairs
    values = areas[first] - areas[second]
    variance = np.diag(covariance)[first] + np.diag(covariance)[second] - 2 * covariance[first, second]
    deviation = np.sqrt(np.maximum(variance, 0))
    values[np.abs(values) <= _NOISE] = 0
    sure = np.where(values == 0, 1.0, 0.0)  # without any spread a difference is certain, and so is none
    z = np.divide(np.abs(values), deviation, out=np.zeros_like(values), where=deviation > _NOISE)
    p = np.where(deviation > _NOISE, 2 * ndtr(-z), sure)
    margin = ndtri((1 + CONFIDENCE) / 2) * deviation
    return _Differences(values, values - margin, values + margin, p)


def holm(p: np.ndarray) -> np.ndarray:
    """Adjusted p-values (test,): each may be held against the level as if it were the only one."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def _indices(candidates: int) -> tuple[np.ndarray, np.ndarray]:
    # in the order of the pairs of names
    first, second = zip(*itertools.combinations(range(candidates), 2), strict=True)
    return np.array(first), np.array(second)


def _pairs(both: Sequence[tuple[str, str]], measure: str, records: int, found: _Differences) -> list[Pair]:
    columns = (found.values, found.low, found.high, found.p, holm(found.p))
    numbers = zip(*(map(float, column) for column in columns), strict=True)
    return [Pair(*two, measure, records, *of) for two, of in zip(both, numbers, strict=True)]

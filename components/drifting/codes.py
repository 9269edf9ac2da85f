"""Drift in the space of codes: their energy distance as a whole, and each unit by itself.

Papers: Székely and Rizzo, "Energy statistics: A class of statistics based on distances", Journal of Statistical
Planning and Inference 143, 2013; Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal
of Statistics 6, 1979.

Codes are divided by the reference's standard deviation of each unit, so that no unit counts for its size. They must be
finite.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from components.drifting.errors import distance
from components.scoring.metrics import Estimate


@dataclass(frozen=True)
class Energy:
    """How far two samples of codes are apart."""

    squared: float
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| over all pairs; zero for equal samples only."""
    share: Estimate
    """The same divided by 2 E|X - Y|, its largest possible value: 0 to 1."""
    p_value: float
    """Share of divisions of the pooled codes that are at least as far apart."""


@dataclass(frozen=True)
class Unit:
    """One number of the code."""

    number: int
    distance: Estimate
    """Kolmogorov-Smirnov distance; the intervals of all units hold at once."""
    p_value: float
    """Of the Kolmogorov-Smirnov test, corrected by Holm for the number of units."""


def thin(codes: np.ndarray, most: int) -> np.ndarray:
    """At most so many codes, evenly spaced in time. Shapes: (record, unit) -> (at most `most`, unit)."""
    return codes[np.linspace(0, len(codes) - 1, min(most, len(codes))).round().astype(int)]


def energy(reference: np.ndarray, sample: np.ndarray, permutations: int, confidence: float, seed: int) -> Energy:
    """Energy distance with a permutation p-value and a basic bootstrap interval.

    With weights u = 1/n on the reference and -1/m on the sample it is -u'Du for the matrix D of all distances, so
    permutations and resamples are products with one matrix. Shapes: (n, unit), (m, unit).
    """
    generator, scale = np.random.default_rng(seed), _scale(reference)
    pooled, n, m = np.concatenate([reference, sample]) / scale, len(reference), len(sample)
    distances = cdist(pooled, pooled)
    signs = np.repeat([1 / n, -1 / m], [n, m])
    squared = float(_spread(signs[None], distances)[0])
    shuffled = generator.permuted(np.broadcast_to(signs, (permutations, n + m)), axis=1)
    # what rounding makes of equal divisions must not decide
    as_far = int((_spread(shuffled, distances) >= squared - 1e-12 * distances.mean()).sum())

    sides = [np.zeros((permutations, n + m)) for _ in range(2)]
    sides[0][:, :n] = generator.multinomial(n, np.full(n, 1 / n), permutations) / n
    sides[1][:, n:] = generator.multinomial(m, np.full(m, 1 / m), permutations) / m
    between = 2 * ((sides[0] @ distances) * sides[1]).sum(1)
    resampled = _shares(_spread(sides[0] - sides[1], distances), between)
    share = float(_shares(squared, 2 * distances[:n, n:].mean()))
    tail = (1 - confidence) / 2
    low, high = 2 * share - np.quantile(resampled, [1 - tail, tail])
    return Energy(squared, Estimate(share, float(low), float(high)), (1 + as_far) / (1 + permutations))


def units(reference: np.ndarray, sample: np.ndarray, confidence: float) -> list[Unit]:
    """Every unit of the code, in order. Shapes: (n, unit), (m, unit)."""
    from scipy.stats import ks_2samp

    number = reference.shape[1]
    each = 1 - (1 - confidence) / number
    gaps = [distance(reference[:, unit], sample[:, unit], each) for unit in range(number)]
    raw = np.array([ks_2samp(reference[:, unit], sample[:, unit], method="asymp").pvalue for unit in range(number)])
    return [Unit(unit, gap, p) for unit, (gap, p) in enumerate(zip(gaps, holm(raw).tolist(), strict=True))]


def holm(p_values: np.ndarray) -> np.ndarray:
    """P-values such that, rejecting those at most a, the chance of any false rejection is at most a. (test,)."""
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(p_values))
    corrected[order] = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    return np.minimum(corrected, 1)


def _scale(reference: np.ndarray) -> np.ndarray:
    deviation = reference.std(0)
    return np.where(deviation > 0, deviation, 1)  # a unit that never moved is taken as it is


def _spread(weights: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """-u'Du for each row of weights. Shapes: (row, record), (record, record) -> (row,)."""
    return -((weights @ distances) * weights).sum(1)


def _shares(squared: np.ndarray | float, between: np.ndarray | float) -> np.ndarray:
    """Of the largest possible value; 0 where all codes are one point."""
    return np.divide(squared, between, out=np.zeros(np.shape(between)), where=np.asarray(between) > 0)

"""The distribution of scores against calibration: Kolmogorov-Smirnov distance and population stability index.

Papers: Massart, "The Tight Constant in the Dvoretzky-Kiefer-Wolfowitz Inequality", Annals of Probability 18, 1990 (the
interval of a distance); Efron, "Bootstrap Methods", Annals of Statistics 7, 1979 (that of the index).
"""

import numpy as np

from components.scoring.metrics import Estimate

_TENTHS = 10
_RESAMPLES = 2000


def distance(reference: np.ndarray, sample: np.ndarray, confidence: float) -> Estimate:
    """Largest gap between two distribution functions, with an interval that holds for any distributions.

    Each empirical function lies within sqrt(log(2 / e) / 2n) of the true one but for a chance of e; both at once with
    e = (1 - confidence) / 2. Shapes: (n,), (m,), neither empty; infinity is allowed, NaN is not.
    """
    both = np.concatenate([reference, sample])
    shares = [np.searchsorted(np.sort(one), both, side="right") / len(one) for one in (reference, sample)]
    gap = float(np.abs(shares[0] - shares[1]).max())
    margin = sum(np.sqrt(np.log(4 / (1 - confidence)) / (2 * len(one))) for one in (reference, sample))
    return Estimate(gap, max(0.0, gap - margin), min(1.0, gap + margin))


def stability_index(reference: np.ndarray, sample: np.ndarray, confidence: float, seed: int) -> Estimate:
    """Population stability index: sum of (b - a) log(b / a) over tenths of the reference.

    Half a record more in every tenth keeps empty ones finite. Chance alone makes the index positive; the basic
    bootstrap, which reflects the resampled indices about the index, takes that out of the interval. Its lower end is
    not cut at zero, for it is to be compared with a limit. Shapes: (n,), (m,).
    """
    edges = np.unique(np.quantile(reference, np.arange(1, _TENTHS) / _TENTHS))
    counts = [np.bincount(np.searchsorted(edges, one), minlength=len(edges) + 1) for one in (reference, sample)]
    generator = np.random.default_rng(seed)
    resampled = [generator.multinomial(count.sum(), count / count.sum(), _RESAMPLES) for count in counts]
    index = float(_index(*counts))
    tail = (1 - confidence) / 2
    low, high = 2 * index - np.quantile(_index(*resampled), [1 - tail, tail])
    return Estimate(index, float(low), float(high))


def _index(counts: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Shapes: (…, bin) twice -> (…)."""
    a, b = ((one + 0.5) / (one + 0.5).sum(-1, keepdims=True) for one in (counts, others))
    return ((b - a) * np.log(b / a)).sum(-1)

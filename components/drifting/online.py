"""Smoothed online p-values: the rank of each new score among calibration and all scores before it, ties at random.

Paper: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005, theorem 8.1: where the records are
exchangeable, these p-values are independent and uniform on (0, 1], whatever the scores are. P-values against one fixed
calibration set are not: they share its luck, and without smoothing they are discrete besides.
"""

import numpy as np


def smoothed(history: np.ndarray, scores: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """The p-value (#{before > score} + u #{before or itself = score}) / (#before + 1), small where a score is high.

    Shapes: history (n,) ascending, scores (record,) in the order of their arrival, uniform (record,) in (0, 1] ->
    (record,) float64. No score may be NaN.
    """
    left, right = (np.searchsorted(history, scores, side) for side in ("left", "right"))
    higher, equal = earlier(scores)
    before = len(history) + np.arange(len(scores))
    return (len(history) - right + higher + uniform * (right - left + equal + 1)) / (before + 1)


def earlier(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many earlier scores are higher, and how many are equal. Shapes: (record,) -> (record,) int64 twice.

    A merge sort run backwards: the places in the order of their scores are split, stably, into the earlier and the
    later half of each block of arrivals; every place of the later half counts those of the earlier half that stand
    before it. log2(record) passes over the array, none of which sorts.
    """
    count = len(scores)
    by_score = np.argsort(scores, kind="stable")
    ascending = scores[by_score]
    first = np.searchsorted(ascending, ascending, side="left")
    equal = np.empty(count, np.int64)
    equal[by_score] = np.arange(count) - first  # stable: those that stand before it in a tie came earlier

    depth = max(count - 1, 0).bit_length()
    padded = 1 << depth
    order = np.concatenate([by_score, np.arange(count, padded)])  # padding arrives last and is counted by nobody
    not_higher = np.zeros(padded, np.int64)
    for level in reversed(range(depth)):
        later = (order >> level & 1).astype(bool)
        passed = np.cumsum((~later).reshape(-1, 2 << level), axis=1).reshape(-1)
        not_higher[order[later]] += passed[later]
        halves = [order[half].reshape(-1, 1, 1 << level) for half in (~later, later)]
        order = np.concatenate(halves, axis=1).reshape(-1)
    return np.arange(count) - not_higher[:count], equal

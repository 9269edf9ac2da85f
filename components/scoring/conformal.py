"""Conformal decisions: a threshold whose false-alarm rate is bounded, in integers so that no rounding moves it.

Papers: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005; the rate of one given calibration
set: Vovk, "Conditional Validity of Inductive Conformal Predictors", ACML 2012; with p-values: Bates, Candès, Lei,
Romano and Sesia, "Testing for outliers with conformal p-values", Annals of Statistics 51, 2023.

With n calibration scores of normal records, p = (1 + #{calibration >= score}) / (n + 1). An alarm is
#{calibration >= score} < m. Over calibration sets the rate of alarms is Beta(m, n + 1 - m) for distinct scores; ties
only lower it. So there are two promises, and each is the largest m that keeps it:

- split conformal: the mean m / (n + 1) of the rate is at most alpha, which makes an alarm p <= alpha;
- calibration conditional: the `confidence` quantile of the rate is at most alpha.

A score that is not a number sorts above all others, so it raises an alarm.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from math import ceil, log1p
from pathlib import Path
from typing import Literal

import numpy as np

from components.runtime.errors import UserError
from components.runtime.outputs import read_json, write_json

Method = Literal["split_conformal", "calibration_conditional"]


def as_ratio(alpha: float) -> tuple[int, int]:
    """Numerator and denominator of a number as the user wrote it."""
    # as the user wrote it: 0.29 is 29/100, while the float nearest to it makes 100 * 0.29 fall below 29
    return Decimal(str(alpha)).as_integer_ratio()


def allowed(n: int, alpha: float, confidence: float | None = None) -> int:
    """The largest m that keeps the promise: an alarm means that fewer than m calibration scores reach the score.

    Args:
        n: calibration scores.
        alpha: bound of the rate of alarms.
        confidence: share of calibration sets whose rate is bounded; None bounds the mean over all sets.
    """
    if confidence is not None:
        return bisect_left(range(1, n + 1), True, key=lambda m: bool(upper_band(n, m, confidence) > alpha))
    numerator, denominator = as_ratio(alpha)
    return (n + 1) * numerator // denominator


def smallest_n(alpha: float, confidence: float | None = None) -> int:
    """The smallest number of calibration records with which an alarm is possible at all (m = 1)."""
    if confidence is not None:
        # 1 - (1 - alpha)^n >= confidence; what rounding leaves open is settled by the rule itself
        about = ceil(log1p(-confidence) / log1p(-alpha)) + 1
        return 1 + bisect_left(range(1, about), True, key=lambda n: bool(upper_band(n, 1, confidence) <= alpha))
    numerator, denominator = as_ratio(alpha)
    return -(-denominator // numerator) - 1


def upper_band(n: int, m: int | np.ndarray, confidence: float = 0.95) -> np.ndarray:
    """What the false-alarm rate of one given calibration set stays below, with this confidence; of the shape of m."""
    from scipy.special import betaincinv

    return betaincinv(m, n + 1 - m, confidence)


def alarm_levels(n: int, confidence: float | None = None) -> np.ndarray:
    """The smallest alpha that allows m, for m = 1 … n: (n,) float64, ascending.

    With them a p-value decides at any alpha, without the scores: an alarm is (n + 1) p <= #{levels <= alpha}.
    """
    m = np.arange(1, n + 1)
    if confidence is not None:
        return upper_band(n, m, confidence)
    levels = m / (n + 1)
    # a quotient that was rounded down allows one less, as it is written: 1/3 is more than 0.3333333333333333
    short = [index for index, level in enumerate(levels.tolist()) if allowed(n, level) <= index]
    levels[short] = np.nextafter(levels[short], 1)
    return levels


def promise(confidence: float | None) -> str:
    """In words, to follow "at most ALPHA of normal records raise an alarm"."""
    if confidence is None:
        return "on average over calibration sets"
    return f"with {100 * confidence:.6g} % confidence in this calibration set"


def reached(calibration_sorted: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """#{calibration >= score} for each score. Shapes: (n,) ascending, (record,) -> (record,) int64."""
    return len(calibration_sorted) - np.searchsorted(calibration_sorted, scores, side="left")


def p_values(calibration_sorted: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(1 + #{calibration >= score}) / (n + 1) for each score, (record,) float64."""
    return (1 + reached(calibration_sorted, scores)) / (len(calibration_sorted) + 1)


def alarms(calibration_sorted: np.ndarray, m: int, scores: np.ndarray) -> np.ndarray:
    """Whether each score raises an alarm, (record,) bool."""
    return reached(calibration_sorted, scores) < m


@dataclass(frozen=True)
class Calibration:
    """artifacts/threshold/V: the promise (threshold.json) and the scores behind it (calibration_scores.npy)."""

    alpha: float
    n: int
    m: int
    threshold: float
    """The m-th largest calibration score: an alarm is a score above it."""
    upper_95: float
    """With 95 % confidence this calibration set's false-alarm rate stays below."""
    scores: np.ndarray
    """(n,) float32, ascending."""
    method: Method = "split_conformal"
    confidence: float | None = None
    """Of a calibration-conditional promise: the share of calibration sets whose rate is at most alpha."""

    @classmethod
    def fit(cls, scores: np.ndarray, alpha: float, confidence: float | None = None) -> "Calibration":
        """Fit to the scores (n,) of normal records that nothing else was fitted to.

        Raises:
            UserError: too few records for this promise, or scores that are not finite.
        """
        n = len(scores)
        require_enough(n, alpha, confidence)
        if broken := n - int(np.isfinite(scores).sum()):
            raise UserError(
                "calibration scores",
                f"must be finite, {broken} of {n} are not (the training diverged)",
                "lower train.learning_rate or train.clip_norm",
            )
        m, ascending = allowed(n, alpha, confidence), np.sort(scores).astype(np.float32)
        method: Method = "split_conformal" if confidence is None else "calibration_conditional"
        band = float(upper_band(n, m))
        return cls(alpha, n, m, float(ascending[n - m]), band, ascending, method, confidence)

    @property
    def promise(self) -> str:
        """See `promise`: that of this calibration."""
        return promise(self.confidence)

    def alarm_levels(self) -> np.ndarray:
        """See `alarm_levels`: with the promise of this calibration."""
        return alarm_levels(self.n, self.confidence)

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """See `p_values`."""
        return p_values(self.scores, scores)

    def alarms(self, scores: np.ndarray) -> np.ndarray:
        """See `alarms`."""
        return alarms(self.scores, self.m, scores)

    def save(self, folder: Path) -> None:
        """Write both files into `folder`."""
        names = ("alpha", "n", "m", "threshold", "upper_95", "method", "confidence")
        write_json(folder / "threshold.json", {name: getattr(self, name) for name in names})
        np.save(folder / "calibration_scores.npy", self.scores)

    @classmethod
    def load(cls, folder: Path) -> "Calibration":
        """Read both files.

        Raises:
            UserError: one is missing or damaged.
        """
        stage = f"threshold@{folder.name}"
        promise, path = read_json(folder / "threshold.json", stage), folder / "calibration_scores.npy"
        try:
            return cls(scores=np.load(path, allow_pickle=False), **promise)
        except FileNotFoundError:
            raise UserError(str(path), "is missing", f"run `dvc repro {stage}` first") from None
        except (TypeError, ValueError, EOFError):
            raise UserError(str(folder), "is damaged", f"run `dvc repro -f -s {stage}` to make it again") from None


def chosen(records: int, most: int, seed: int) -> np.ndarray | None:
    """The calibration records that a threshold is fitted to, ascending (row,); None for all of them.

    A random subset: the first ones would not do, because sources are often sorted by class or by time and conformal
    prediction needs exchangeable records.
    """
    return np.sort(np.random.default_rng(seed).choice(records, most, replace=False)) if records > most else None


def require_enough(n: int, alpha: float, confidence: float | None = None) -> None:
    """Refuse a promise that n calibration records cannot keep.

    Raises:
        UserError: says the smallest n, and the smallest alpha for this n.
    """
    if allowed(n, alpha, confidence) >= 1:
        return
    # rounded up, so that what the message says is enough
    least = "" if not n else f"raise it to {ceil(alarm_levels(n, confidence)[0] * 10**6) / 10**6:g} or more, or "
    sure = "" if confidence is None else f" with threshold.confidence {confidence:g}"
    raise UserError(
        "threshold.alpha",
        f"{alpha}{sure} needs at least {smallest_n(alpha, confidence)} calibration records, got {n}",
        f"{least}raise prepare.fractions.calibration or threshold.max_n, or add records",
    )


def fit_threshold(
    score: Callable[[np.ndarray | None], np.ndarray],
    records: int,
    alpha: float,
    confidence: float | None,
    max_n: int,
    seed: int,
) -> Calibration:
    """Fit the threshold of whatever scores records, to at most `max_n` of them (see `chosen`).

    Args:
        score: the scores of the chosen calibration records, of all where None are chosen: (row,) -> (row,).
        records: how many there are.
        alpha: largest share of normal records that may raise an alarm.
        confidence: share of calibration sets that keep it; None keeps it on average.
        max_n: scores kept.
        seed: draws the subset.

    Raises:
        UserError: too few records for this promise, or scores that are not finite.
    """
    require_enough(min(records, max_n), alpha, confidence)
    return Calibration.fit(score(chosen(records, max_n, seed)), alpha, confidence)

"""Split conformal decisions: a threshold whose false-alarm rate is bounded, in integers so that no rounding moves it.

Paper: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005; the upper band of a given
calibration set: Vovk, "Conditional Validity of Inductive Conformal Predictors", ACML 2012.

With n calibration scores of normal records, p = (1 + #{calibration >= score}) / (n + 1), and an alarm is p <= alpha.
In integers: an alarm is #{calibration >= score} < m with m = floor((n + 1) alpha). A score that is not a number sorts
above all others, so it raises an alarm.
"""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

import numpy as np

from components.runtime.errors import UserError
from components.runtime.outputs import read_json, write_json


def _ratio(alpha: float) -> tuple[int, int]:
    # as the user wrote it: 0.29 is 29/100, while the float nearest to it makes 100 * 0.29 fall below 29
    return Decimal(str(alpha)).as_integer_ratio()


def allowed(n: int, alpha: float) -> int:
    """The largest m with m / (n + 1) <= alpha: an alarm means that fewer than m calibration scores reach the score."""
    numerator, denominator = _ratio(alpha)
    return (n + 1) * numerator // denominator


def smallest_n(alpha: float) -> int:
    """The smallest number of calibration records with which an alarm is possible at all (m = 1)."""
    numerator, denominator = _ratio(alpha)
    return -(-denominator // numerator) - 1


def upper_band(n: int, m: int, confidence: float = 0.95) -> float:
    """What the false-alarm rate of one given calibration set stays below, with this confidence.

    Over calibration sets the rate is Beta(m, n + 1 - m) for distinct scores; ties only lower it.
    """
    from scipy.special import betaincinv

    return float(betaincinv(m, n + 1 - m, confidence))


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
    method: Literal["split_conformal"] = "split_conformal"

    @classmethod
    def fit(cls, scores: np.ndarray, alpha: float) -> "Calibration":
        """Fit to the scores (n,) of normal records that nothing else was fitted to.

        Raises:
            UserError: too few records for this alpha, or scores that are not finite.
        """
        n, m = len(scores), allowed(len(scores), alpha)
        require_enough(n, alpha)
        if broken := n - int(np.isfinite(scores).sum()):
            raise UserError(
                "calibration scores",
                f"must be finite, {broken} of {n} are not (the training diverged)",
                "lower train.learning_rate or train.clip_norm",
            )
        ascending = np.sort(scores).astype(np.float32)
        return cls(alpha, n, m, float(ascending[n - m]), upper_band(n, m), ascending)

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """See `p_values`."""
        return p_values(self.scores, scores)

    def alarms(self, scores: np.ndarray) -> np.ndarray:
        """See `alarms`."""
        return alarms(self.scores, self.m, scores)

    def save(self, folder: Path) -> None:
        """Write both files into `folder`."""
        names = ("alpha", "n", "m", "threshold", "upper_95", "method")
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


def require_enough(n: int, alpha: float) -> None:
    """Refuse an alpha that n calibration records cannot keep.

    Raises:
        UserError: says the smallest n, and the smallest alpha for this n.
    """
    if allowed(n, alpha) >= 1:
        return
    least = -(-(10**6) // (n + 1)) / 10**6  # rounded up, so that what the message says is enough
    raise UserError(
        "threshold.alpha",
        f"{alpha} needs at least {smallest_n(alpha)} calibration records, got {n}",
        f"raise it to {least:g} or more, or raise prepare.fractions.calibration or threshold.max_n, or add records",
    )

"""One exported file against the torch model: how far apart they are, and which rule that breaks.

Three rules, b being the value of the torch model and a that of the file:
- Values: |a - b| <= 1e-4 |b| + an absolute part, because single values pass through zero and their errors do not. For
  scores it is 1e-7 of the median calibration score; for codes, reconstructions and the contributions of a table's
  columns 1e-5 of the largest |b| of the record and of the median record, added up. Two values that are not finite (an
  overflow) agree.
- p_value and is_anomaly belong to the file's own score exactly, by an independent count in numpy.
- A decision differs from the torch model's only where that score lies within its tolerance of the threshold.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from components.exporting.scorer import CONTRIBUTIONS
from components.scoring.conformal import Calibration

RELATIVE = 1e-4
SCORE_FLOOR = 1e-7
VALUE_FLOOR = 1e-5

Values = dict[str, np.ndarray]
"""Output name, then its values (batch, …)."""


class Peaks:
    """The largest |b| of each record, output by output; what is not finite counts as 0."""

    def __init__(self) -> None:
        self.parts: dict[str, list[np.ndarray]] = {}

    def add(self, expected: Values) -> None:
        """Take in the torch model's values of some records."""
        for name in {"reconstruction", "code", CONTRIBUTIONS} & expected.keys():
            sizes = np.abs(expected[name]).reshape(len(expected[name]), -1)
            self.parts.setdefault(name, []).append(np.where(np.isfinite(sizes), sizes, 0).max(1))

    def median(self, name: str) -> float:
        """That of the median record."""
        return float(np.median(np.concatenate(self.parts[name]).astype(np.float64)))


@dataclass(frozen=True)
class Flip:
    """How far from the threshold the torch model's score of a record was whose decision flips."""

    absolute: float
    relative: float
    """To the threshold."""


@dataclass
class Comparison:
    """One file against the torch model, over all records and batch sizes."""

    calibration: Calibration
    peaks: Peaks
    largest: dict[str, float] = field(default_factory=dict)
    """Output, then the largest difference."""
    excess: dict[str, float] = field(default_factory=dict)
    """Output, then the largest difference beyond what the record itself allows."""
    total: dict[str, float] = field(default_factory=dict)
    """Output, then the sum of all differences."""
    values: dict[str, int] = field(default_factory=dict)
    """Output, then how many differences there are."""
    scores: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    """The file's and the torch model's (record,), each record once."""
    flips: int = 0
    flips_outside: int = 0
    furthest_flip: Flip | None = None
    inconsistent: int = 0
    """Records whose p_value or decision is not that of the file's own score."""

    def add(self, found: Values, expected: Values) -> None:
        """Take in the values of some records."""
        for name in ("reconstruction", "code", "score", CONTRIBUTIONS):
            if name in found:
                self._add_values(name, found[name].astype(np.float64), expected[name].astype(np.float64))
        if "score" in found:
            self._add_decisions(found, expected)

    def add_ranks(self, found: Values, expected: Values) -> None:
        """Take in the scores of records whose ranks are compared; to be called once for each record."""
        if "score" in found:
            self.scores.append((found["score"], expected["score"]))

    def _add_values(self, name: str, found: np.ndarray, expected: np.ndarray) -> None:
        broken = ~np.isfinite(found) & ~np.isfinite(expected)
        with np.errstate(invalid="ignore"):  # one side infinite: the NaN that follows fails, as it should
            difference = np.where(broken, 0, np.abs(found - expected))
            size = np.where(broken, 0, np.abs(expected))
            peak = size.reshape(len(size), -1).max(1)
            per_record = 0 if name == "score" else VALUE_FLOOR * peak.reshape(-1, *[1] * (size.ndim - 1))
            self._add_differences(name, difference)
            self._raise_to(self.excess, name, difference - RELATIVE * size - per_record)

    def _add_decisions(self, found: Values, expected: Values) -> None:
        self._add_differences("p_value", np.abs(found["p_value"].astype(np.float64) - expected["p_value"]))
        own_p_value = self.calibration.p_values(found["score"]).astype(np.float32)
        own_alarm = self.calibration.alarms(found["score"])
        self.inconsistent += int(((found["p_value"] != own_p_value) | (found["is_anomaly"] != own_alarm)).sum())
        flipped = found["is_anomaly"] != expected["is_anomaly"]
        score = expected["score"].astype(np.float64)
        distance = np.abs(score - self.calibration.threshold)
        near = distance <= RELATIVE * np.abs(score) + self.floor("score")
        self.flips += int(flipped.sum())
        self.flips_outside += int((flipped & ~near).sum())
        if flipped.any():
            furthest = float(distance[flipped].max())
            if self.furthest_flip is None or furthest > self.furthest_flip.absolute:
                self.furthest_flip = Flip(furthest, furthest / self.calibration.threshold)

    def _add_differences(self, name: str, difference: np.ndarray) -> None:
        self._raise_to(self.largest, name, difference)
        self.total[name] = self.total.get(name, 0.0) + float(difference.sum())
        self.values[name] = self.values.get(name, 0) + difference.size

    @staticmethod
    def _raise_to(record: dict[str, float], name: str, values: np.ndarray) -> None:
        # np.maximum keeps NaN, which then fails every comparison
        record[name] = float(np.maximum(record.get(name, -np.inf), values.max()))

    def floor(self, name: str) -> float:
        """The part of an output's tolerance that is the same for all records."""
        if name == "score":
            return SCORE_FLOOR * float(np.median(self.calibration.scores))
        return VALUE_FLOOR * self.peaks.median(name)

    def faults(self) -> list[str]:
        """What breaks a rule, in words."""
        found = [
            f"{name} differs by up to {self.largest[name]:.3g}"
            for name, excess in self.excess.items()
            if not excess <= self.floor(name)
        ]
        if self.inconsistent:
            found.append(f"{self.inconsistent} p-values or decisions do not belong to their scores")
        if self.flips_outside:
            found.append(f"{self.flips_outside} decisions flip away from the threshold")
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain data; a record whose decision flips counts once for each time that it was asked for."""
        means = {name: total / self.values[name] for name, total in self.total.items()}
        plain: dict[str, Any] = {"max_abs_difference": self.largest, "mean_abs_difference": means}
        if "score" in self.largest:
            plain |= {
                "rank_correlation": rank_correlation(*map(np.concatenate, zip(*self.scores, strict=True))),
                "flips": self.flips,
                "flips_outside_tolerance": self.flips_outside,
                "furthest_flip": asdict(self.furthest_flip) if self.furthest_flip else None,
            }
        return plain


def rank_correlation(ours: np.ndarray, theirs: np.ndarray) -> float | None:
    """Spearman's of two sets of scores (record,), ties by their average rank; None where all scores of one are equal.

    NaN ranks highest, beside infinity. In numpy alone: importing scipy.stats takes as long as the proof.
    """
    a, b = (ranks - ranks.mean() for ranks in map(_average_ranks, (ours, theirs)))
    spread = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / spread if spread else None


def _average_ranks(scores: np.ndarray) -> np.ndarray:
    ordered = np.nan_to_num(scores, nan=np.inf, posinf=np.inf, neginf=-np.inf)
    _, place, counts = np.unique(ordered, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[place]

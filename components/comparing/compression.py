"""What can be registered of each candidate: its exported scorer and the compressed ones, by size and by quality."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.comparing.candidates import Candidate
from components.comparing.pareto import frontier
from components.params.export import FLOAT32

_SHARED = ("parameters", "mse", "false_alarm_rate", "false_alarm_low", "false_alarm_high", "threshold")
"""Named alike in metrics.json and compression.json."""


@dataclass(frozen=True)
class Scorer:
    """One file that could serve; measured on test."""

    variant: str
    method: str
    bytes: int
    size_ratio: float
    """To the exported file."""
    parameters: int
    mse: float
    auroc: float | None
    auroc_loss: float | None
    """The exported scorer's area less this one's."""
    rank_correlation: float
    """Of scores, with the exported scorer's."""
    false_alarm_rate: float
    false_alarm_low: float
    false_alarm_high: float
    threshold: float
    flips: int
    """Decisions other than the exported scorer's."""
    batch_shift: float
    """Largest relative change of a score between a record alone and among others."""
    holds: bool
    """Every limit of the method."""
    faults: str
    best: bool = False
    """No other scorer is as small and as good, and better in one."""

    @property
    def cost(self) -> float:
        """What a frontier is drawn by, beside the size: lost area under the curve or, without labels, the error."""
        return self.mse if self.auroc is None else 1 - self.auroc


def scorers(candidates: Sequence[Candidate]) -> list[Scorer]:
    """All of them, candidate by candidate, the exported one first."""
    found = [scorer for candidate in candidates for scorer in (_exported(candidate), *_compressed(candidate))]
    best = frontier([scorer.bytes for scorer in found], [scorer.cost for scorer in found])
    return [replace(scorer, best=is_best) for scorer, is_best in zip(found, best, strict=True)]


def _exported(candidate: Candidate) -> Scorer:
    metrics = candidate.metrics
    return Scorer(
        variant=candidate.name,
        method=FLOAT32,
        bytes=candidate.parity["files"]["scorer.onnx"]["bytes"],
        size_ratio=1.0,
        auroc=metrics.get("auroc"),
        auroc_loss=0.0 if "auroc" in metrics else None,
        rank_correlation=1.0,
        flips=0,
        batch_shift=0.0,
        holds=True,
        faults="",
        **{name: metrics[name] for name in _SHARED},
    )


def _compressed(candidate: Candidate) -> list[Scorer]:
    return [_row(candidate.name, method, row) for method, row in candidate.compression.items() if "faults" in row]


def _row(variant: str, method: str, row: dict[str, Any]) -> Scorer:
    own = ("bytes", "size_ratio", "auroc", "auroc_loss", "rank_correlation", "flips", "batch_shift")
    numbers = {name: row[name] for name in (*own, *_SHARED)}
    return Scorer(variant, method, holds=not row["faults"], faults="; ".join(row["faults"]), **numbers)

"""The module that is exported: a raw record in, everything a caller decides by out; it needs nothing but its file."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from components.data.columns import Column, column_of
from components.data.scaling import Scale
from components.scoring.detector import Detector
from components.scoring.ranks import Ranks
from components.scoring.score import by_column

INPUT = "input"
CONTRIBUTIONS = "contributions"
OUTPUTS = ("reconstruction", "code", "score", "p_value", "is_anomaly", CONTRIBUTIONS)


class Scorer(nn.Module):
    """Scaling, model, score and conformal decision as one graph.

    Shapes: raw (batch, *item) uint8 or float32; results (batch, *item), (batch, code), three times (batch,), and what
    each value adds to the score (batch, *item).

    A score that is NaN (a record with NaN, or an overflow) counts as stranger than every calibration record:
    p_value is 1 / (n + 1) and is_anomaly true, as numpy's order, which sorts NaN last, has it too.

    Args:
        scale: raw units to scaled units.
        detector: the trained autoencoder with its scores; set to evaluation and frozen.
        calibration: sorted calibration scores (n,) float32.
        allowed: m; a record is an anomaly when fewer than m calibration scores reach its own.
    """

    def __init__(self, scale: Scale, detector: Detector, calibration: Tensor, allowed: int) -> None:
        super().__init__()
        self.scale = scale
        self.detector = detector
        self.calibration = Ranks(calibration)
        self.allowed = allowed
        self.eval().requires_grad_(False)

    def forward(self, raw: Tensor) -> tuple[Tensor, ...]:
        """The values named in OUTPUTS, in that order."""
        scaled = self.scale(raw)
        reconstruction, code, score = self.detector(scaled)
        reaching = self.calibration.reaching(score)
        p_value = (1 + reaching).to(torch.float32) / (self.calibration.n + 1)
        parts = self._parts(self.detector.contributions(scaled, reconstruction, code))
        return reconstruction, code, score, p_value, reaching < self.allowed, parts

    def _parts(self, contributions: Tensor) -> Tensor:
        return contributions


class TableScorer(Scorer):
    """The same for the features of a table, whose contributions are those of its columns (batch, column).

    Args:
        columns: the raw columns behind the features, one after another and without a gap.
        others: see Scorer.
    """

    def __init__(self, columns: Sequence[Column], *others: Scale | Detector | Tensor | int) -> None:
        super().__init__(*others)
        self.columns = len(columns)
        self.register_buffer("column_of", torch.tensor(column_of(columns)))

    def _parts(self, contributions: Tensor) -> Tensor:
        return by_column(contributions, self.column_of, self.columns)

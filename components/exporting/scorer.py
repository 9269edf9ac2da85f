"""The module that is exported: a raw record in, everything a caller decides by out; it needs nothing but its file."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from components.data.columns import Column, column_of
from components.data.scaling import Scale
from components.models import Autoencoder
from components.scoring.score import contributions, reconstruction_error

INPUT = "input"
OUTPUTS = ("reconstruction", "code", "score", "p_value", "is_anomaly")
CONTRIBUTIONS = "contributions"


class Scorer(nn.Module):
    """Scaling, model, score and conformal decision as one graph.

    Shapes: raw (batch, *item) uint8 or float32; results (batch, *item), (batch, code) and three times (batch,).

    A score that is NaN (a record with NaN, or an overflow) counts as stranger than every calibration record:
    p_value is 1 / (n + 1) and is_anomaly true, as numpy's order, which sorts NaN last, has it too.

    Args:
        scale: raw units to scaled units.
        model: the trained autoencoder; set to evaluation and frozen.
        calibration: sorted calibration scores (n,) float32.
        allowed: m; a record is an anomaly when fewer than m calibration scores reach its own.
    """

    outputs: tuple[str, ...] = OUTPUTS
    """Names of what `forward` returns."""

    def __init__(self, scale: Scale, model: Autoencoder, calibration: Tensor, allowed: int) -> None:
        super().__init__()
        self.scale = scale
        self.model = model
        self.n = len(calibration)
        self.allowed = allowed
        # halving a table of 2^k - 1 entries takes exactly k looks, k = ceil(log2(n + 1)); no score passes the padding
        self.looks = self.n.bit_length()
        padding = calibration.new_full((2**self.looks - 1 - self.n,), torch.inf)
        self.register_buffer("calibration", torch.cat([calibration, padding]))
        self.eval().requires_grad_(False)

    def forward(self, raw: Tensor) -> tuple[Tensor, ...]:
        """The values named in `outputs`, in that order."""
        scaled = self.scale(raw)
        return self._judge(scaled, *self.model(scaled))

    def _judge(self, scaled: Tensor, reconstruction: Tensor, code: Tensor) -> tuple[Tensor, ...]:
        score = reconstruction_error(scaled, reconstruction)
        reaching = self._reaching(score)
        p_value = (1 + reaching).to(torch.float32) / (self.n + 1)
        return reconstruction, code, score, p_value, reaching < self.allowed

    def _reaching(self, score: Tensor) -> Tensor:
        """#{calibration >= score} (batch,) int64, by a binary search without branches or broadcasting."""
        below = torch.zeros_like(score, dtype=torch.int64)
        for look in reversed(range(self.looks)):
            step = 2**look
            probe = torch.gather(self.calibration, 0, below + (step - 1))
            # asked this way round, NaN goes above everything
            below = torch.where(probe >= score, below, below + step)
        return (self.n - below).clamp(min=0)


class TableScorer(Scorer):
    """The same for the features of a table, with each column's part in the score.

    Shapes: as in Scorer, and contributions (batch, column), which add up to the score.

    Args:
        columns: the raw columns behind the features, one after another and without a gap.
        others: see Scorer.
    """

    outputs = (*OUTPUTS, CONTRIBUTIONS)

    def __init__(self, columns: Sequence[Column], *others: Scale | Autoencoder | Tensor | int) -> None:
        super().__init__(*others)
        self.columns = len(columns)
        self.register_buffer("column_of", torch.tensor(column_of(columns)))

    def forward(self, raw: Tensor) -> tuple[Tensor, ...]:
        """The values named in `outputs`, in that order."""
        features = self.scale(raw)
        reconstruction, code = self.model(features)
        parts = contributions(features, reconstruction, self.column_of, self.columns)
        return *self._judge(features, reconstruction, code), parts

"""Raw units to scaled units as a torch module, so that scaling travels inside every exported graph."""

import torch
from torch import Tensor, nn

from components.data.splits import Manifest


class Scale(nn.Module):
    """(raw - shift) / scale in float32. Shapes: raw (batch, *item) uint8 or float32, result (batch, *item)."""

    def __init__(self, manifest: Manifest) -> None:
        super().__init__()
        shift, scale = torch.tensor(manifest.scaling.shift), torch.tensor(manifest.scaling.scale)
        # one pair for all values broadcasts as a scalar, which the runtime folds best
        self.register_buffer("shift", shift.squeeze())
        self.register_buffer("factor", (1 / scale).squeeze())

    def forward(self, raw: Tensor) -> Tensor:
        """Scaled float32 records."""
        return (raw.to(torch.float32) - self.shift) * self.factor

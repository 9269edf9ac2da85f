"""What convolutional models share: depth and width, the sizes of a shrinking image, and a norm of single records."""

import math

import torch
from pydantic import Field
from torch import Tensor, nn

from components.models import ModelParams


class ConvolutionParams(ModelParams):
    """Depth and width of the convolutions; the decoder mirrors the encoder."""

    channels: int = Field(32, ge=1, le=1024)
    """Feature maps of the first layer; doubled by each further one."""
    depth: int = Field(3, ge=1, le=8)
    """Times that height and width are halved; fewer where a side would fall below 2 pixels."""


def halvings(height: int, width: int, depth: int) -> list[tuple[int, int]]:
    """Sizes (height, width) from the image inwards after at most `depth` halvings.

    Odd sides round up, and a side of 2 is halved no further.
    """
    sizes = [(height, width)]
    while len(sizes) <= depth and min(sizes[-1]) > 2:
        sizes.append((math.ceil(sizes[-1][0] / 2), math.ceil(sizes[-1][1] / 2)))
    return sizes


class RecordNorm(nn.GroupNorm):
    """Normalises all features of a record together, whatever else is in its batch."""

    def __init__(self, features: int) -> None:
        super().__init__(1, features)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised values (batch, feature, height, width)."""
        # not F.group_norm, which asks about the size of the batch: a trace for TorchScript cannot keep the question
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

"""What convolutional models share: the sizes through which an image shrinks, and a norm of one record at a time."""

import math

import torch
from torch import Tensor, nn


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

"""The shape of one record, without torch, so that stages that only read numbers stay light."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """What one scaled record looks like to a model."""

    shape: tuple[int, ...]
    """(channel, height, width) for images, (column,) for arrays, (feature,) for tables."""
    unit_range: bool
    """Values lie in 0..1 (images); otherwise they are standardised."""
    groups: tuple[tuple[int, int], ...] = ()
    """(start, stop) of the values that are levels of one column, of which one is 1; only tables have them."""

    @property
    def size(self) -> int:
        """Values per record."""
        return math.prod(self.shape)

    @property
    def is_image(self) -> bool:
        """Whether records have two spatial dimensions."""
        return len(self.shape) == 3

"""How many records are held at a time: fewer of wide ones, so that a batch costs the same memory whatever it holds."""

import math
from collections.abc import Sequence

VALUES = 1 << 22
"""Values of a batch at most: 16 MiB in float32, and a network's layers cost a multiple of that."""


def batch_of(item_shape: Sequence[int], most: int) -> int:
    """Records per batch: `most`, or as many as hold `VALUES` values, and at least one."""
    return max(1, min(most, VALUES // max(1, math.prod(item_shape))))

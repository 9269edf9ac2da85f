"""How many records are held at a time: fewer of wide ones, so that a batch costs the same memory whatever it holds."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

RECORDS = 1024
"""Records of a batch at most, where nothing is learnt from it."""
VALUES = 1 << 22
"""Values of a batch at most: 16 MiB in float32, and a network's layers cost a multiple of that."""


def batch_of(item_shape: Sequence[int], most: int) -> int:
    """Records per batch: `most`, or as many as hold `VALUES` values, and at least one."""
    return max(1, min(most, VALUES // max(1, math.prod(item_shape))))


def raw_batches(records: np.ndarray, rows: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Copies of consecutive records (batch, *item), of all (record, *item) or of the chosen rows.

    Yields at least one batch: no records give one empty batch, so that its shapes are known.
    """
    size, count = batch_of(records.shape[1:], RECORDS), len(records) if rows is None else len(rows)
    for start in range(0, max(count, 1), size):
        # a copy: torch cannot hold the read-only memory of a mapped file
        yield np.array(records[start : start + size]) if rows is None else records[rows[start : start + size]]

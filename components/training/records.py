"""How records reach the trainer: from memory where a split fits, else from its file in shuffled blocks.

Both ways draw an epoch's order from torch's random state as the trainer sets it, so (seed, epoch) alone decides it: not
the pace of the disk or of the reader, nor the epochs before. Within an epoch each record comes exactly once.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from components.data.batches import batch_of

LARGEST_BLOCK = 1 << 20
"""Bytes read in one piece."""
BLOCKS_PER_WINDOW = 64
"""At least, as far as records are small enough: what is shuffled together comes from so many places of the file."""
CLOSED_FORM_BATCH = 4096
"""Records per batch of the closed forms at most."""


class Records(Protocol):
    """Raw records (record, *item) of a split."""

    def __len__(self) -> int:
        """Number of records."""

    def shuffled(self, size: int) -> Iterator[Tensor]:
        """One epoch in batches (batch, *item) of `size`, the last one smaller; draws from torch's random state."""

    def in_order(self, size: int) -> Iterator[Tensor]:
        """All records as they lie, in batches of `size`, the last one smaller."""


class InMemory:
    """A tensor on any device; an epoch's order is a uniform permutation."""

    def __init__(self, records: Tensor) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def shuffled(self, size: int) -> Iterator[Tensor]:
        """See `Records`."""
        for rows in torch.randperm(len(self)).to(self.records.device).split(size):
            yield self.records.index_select(0, rows)

    def in_order(self, size: int) -> Iterator[Tensor]:
        """See `Records`."""
        return iter(self.records.split(size))


class Blocks:
    """A memory-mapped array, of which two windows are in memory: one in use, one that a thread reads meanwhile.

    An epoch's order: the file is cut into blocks of consecutive records (at most 1 MiB, at most 1/64 of a window), the
    blocks are put in a uniformly random order, that sequence is cut into windows of a whole number of batches, and the
    records within a window are permuted uniformly. So a record may meet any other in a batch, though neighbours in the
    file meet more often than in a permutation of all.

    Args:
        records: (record, *item), as `load_records` maps it.
        memory: bytes that both windows take together; a window holds at least one batch, whatever it takes.
        device: where the windows are put.
    """

    def __init__(self, records: np.ndarray, memory: int, device: torch.device) -> None:
        self.records, self.window_bytes, self.device = records, memory // 2, device
        self.record_bytes = records.nbytes // len(records)
        block_bytes = min(LARGEST_BLOCK, self.window_bytes // BLOCKS_PER_WINDOW)
        self.block = max(1, block_bytes // self.record_bytes)

    def __len__(self) -> int:
        return len(self.records)

    def shuffled(self, size: int) -> Iterator[Tensor]:
        """See `Records`."""
        order = torch.randperm(-(-len(self) // self.block))
        # drawn now: the model draws from the global state between batches, the reader must not
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        windows = self._windows(order.tolist(), max(1, self.window_bytes // self.record_bytes // size) * size)
        with ThreadPoolExecutor(1, "reader") as reader:
            coming = reader.submit(self._read, next(windows, []))
            while len(window := coming.result()):
                coming = reader.submit(self._read, next(windows, []))
                for rows in torch.randperm(len(window), generator=generator).split(size):
                    yield window.index_select(0, rows.to(self.device))

    def in_order(self, size: int) -> Iterator[Tensor]:
        """See `Records`."""
        for start in range(0, len(self), size):
            # a copy: torch cannot hold the read-only memory of a mapped file
            yield torch.from_numpy(np.array(self.records[start : start + size]))

    def _windows(self, order: list[int], size: int) -> Iterator[list[slice]]:
        """What to read for each window of `size` records, given the order of the blocks."""
        window, room = [], size
        for block in order:
            start, stop = block * self.block, min((block + 1) * self.block, len(self))
            while start < stop:
                piece = slice(start, min(stop, start + room))
                window.append(piece)
                room -= piece.stop - piece.start
                start = piece.stop
                if not room:
                    yield window
                    window, room = [], size
        if window:
            yield window

    def _read(self, pieces: list[slice]) -> Tensor:
        count = sum(piece.stop - piece.start for piece in pieces)
        window = np.empty((count, *self.records.shape[1:]), self.records.dtype)
        filled = 0
        for piece in pieces:
            after = filled + piece.stop - piece.start
            window[filled:after] = self.records[piece]
            filled = after
        return torch.from_numpy(window).to(self.device)


class ScaledBatches:
    """The records of a map in their order, scaled, as often as they are asked for: what closed forms are fitted to."""

    def __init__(self, records: np.ndarray, scale: torch.nn.Module) -> None:
        self.records, self.scale = records, scale

    def __iter__(self) -> Iterator[Tensor]:
        size = batch_of(self.records.shape[1:], CLOSED_FORM_BATCH)
        for start in range(0, len(self.records), size):
            yield self.scale(torch.from_numpy(np.array(self.records[start : start + size])))

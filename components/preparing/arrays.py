"""Images and arrays: records of one shape and type, copied from wherever they lie, block by block."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.data.batches import batch_of
from components.data.dealing import content_hashes
from components.data.splits import Scaling
from components.preparing.content import Layout, Observed, Rows
from components.runtime.errors import UserError
from components.sources import RawData

BLOCK = 4096
"""Records held in memory at a time at most."""
NEAR_CONSTANT = 1 / 256
"""Standard deviation, as a share of the declared range, below which an image shows nothing."""


class ArrayContent:
    """See `Content`.

    Raises:
        UserError: parts of different shapes, values that are not finite or outside the declared range, or records
            that are all identical.
    """

    def __init__(self, raw: RawData) -> None:
        self.kind, self.classes, self.source_normal, self._raw = raw.kind, raw.classes, raw.normal_classes, raw
        self._records = Concatenated([part.records for part in raw.parts])
        self._near_constant = self._check_values()
        none = -1
        labels = [np.full(len(p.records), none, np.int64) if p.labels is None else p.labels for p in raw.parts]
        self.labels = np.concatenate(labels).astype(np.int64)
        self.own_test = np.concatenate([np.full(len(part.records), part.split == "test") for part in raw.parts])

    def hashes(self, key: str) -> np.ndarray:
        """By content: equal records share a hash."""
        hashes = np.concatenate([content_hashes(part.records, key) for part in self._raw.parts])
        if len(hashes) > 1 and (hashes == hashes[0]).all():
            what = f"its {len(hashes)} records are all identical"
            raise UserError("artifacts/ingest", what, "check how they were made")
        return hashes

    def write(self, folder: Path, rows: Rows) -> Layout:
        """The records as they are; scaling is by the declared range, or by train statistics."""
        for split, of_split in rows.items():
            _write_rows(folder / f"{split}.npy", self._records, of_split)
        scaling, value_range = _scaling(self._raw.value_range, np.load(folder / "train.npy", mmap_mode="r"))
        dtype = "uint8" if self.kind == "image" else "float32"
        shape = list(self._records.item_shape)
        return Layout(shape, dtype, value_range, scaling, column_ranges=self._column_ranges())

    def observed(self) -> Observed:
        """Corrupt files, and images that show nothing."""
        rejected = self._raw.rejected
        return Observed(len(self.labels) + len(rejected), rejected, self._near_constant)

    def _column_ranges(self) -> dict[str, list[float]]:
        """Smallest and largest value of each column, by its number; images and the like have no columns."""
        if len(self._records.item_shape) > 1:
            return {}
        ends = [(block.min(0), block.max(0)) for _, block in self._records.blocks()]
        low, high = (np.array(of, np.float64) for of in zip(*ends, strict=True))
        pairs = zip(low.min(0).tolist(), high.max(0).tolist(), strict=True)
        return {str(column): list(pair) for column, pair in enumerate(pairs)}

    def _check_values(self) -> int | None:
        """Refuse impossible values; returns how many images are of almost one value."""
        if 0 in self._records.item_shape:
            shape = self._records.item_shape
            raise UserError("artifacts/ingest", f"records of shape {shape} hold nothing", "check the source")
        flat_images = 0
        for start, block in self._records.blocks():
            flat = block.reshape(len(block), -1)
            if self._raw.value_range is None:
                wrong, rule = ~np.isfinite(flat).all(1), "holds NaN or infinity"
            else:
                low, high = self._raw.value_range
                wrong = (flat.min(1) < low) | (flat.max(1) > high)
                rule = f"leaves the declared range {low:g}..{high:g}"
                flat_images += int((flat.std(1, dtype=np.float32) < NEAR_CONSTANT * (high - low)).sum())
            if wrong.any():
                raise UserError("artifacts/ingest", f"record {start + int(wrong.argmax())} {rule}", "mend or remove it")
        return flat_images if self.kind == "image" else None


class Concatenated:
    """The records of all parts as one sequence, read block by block from wherever they lie."""

    def __init__(self, parts: list[np.ndarray]) -> None:
        self.parts = parts
        self.starts = np.cumsum([0, *(len(part) for part in parts)])
        shapes = {part.shape[1:] for part in parts}
        if len(shapes) > 1:
            raise UserError("artifacts/ingest", f"its parts hold records of shapes {shapes}", "use one shape")
        self.item_shape = shapes.pop()
        self.dtype = parts[0].dtype
        self.block = batch_of(self.item_shape, BLOCK)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Records of the given ascending rows (record, *item)."""
        bounds = np.searchsorted(rows, self.starts)
        pieces = [
            part[rows[low:high] - start]
            for part, start, low, high in zip(self.parts, self.starts, bounds, bounds[1:], strict=False)
        ]
        return np.concatenate(pieces)

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, records) for consecutive blocks."""
        for start, part in zip(self.starts, self.parts, strict=False):
            for low in range(0, len(part), self.block):
                yield int(start) + low, part[low : low + self.block]


def _write_rows(path: Path, records: Concatenated, rows: np.ndarray) -> None:
    """Write a .npy file block by block; through a file and not a mapping, which a full disk would end by a signal."""
    head = {"descr": np.lib.format.dtype_to_descr(records.dtype), "fortran_order": False}
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, head | {"shape": (len(rows), *records.item_shape)})
        for low in range(0, len(rows), records.block):
            stream.write(np.ascontiguousarray(records.take(rows[low : low + records.block])).data)


def _scaling(declared: tuple[float, float] | None, train: np.ndarray) -> tuple[Scaling, list[float]]:
    if declared is not None:
        low, high = declared
        return Scaling([low], [high - low]), [low, high]
    blocks = [train[low : low + BLOCK] for low in range(0, len(train), BLOCK)]  # mapped, not read
    mean = sum(block.sum(0, dtype=np.float64) for block in blocks) / len(train)
    deviation = np.sqrt(sum(np.square(block - mean).sum(0) for block in blocks) / len(train))
    deviation[deviation == 0] = 1.0  # a constant column carries no information and must not divide by zero
    return Scaling(mean.tolist(), deviation.tolist()), [float(train.min()), float(train.max())]

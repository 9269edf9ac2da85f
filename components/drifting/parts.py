"""Scored batches as they lie in a folder: `part-*.parquet`, each looked at once, in the order of their paths.

A part holds at least `score`; `id`, `p_value` and a list column `code` (or `codes`) are used where they are there. It
is known again by the key of its content that scoring writes into it, for an answer is written anew with parts in other
places when its source has grown; without a key, by its path.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.runtime.errors import UserError
from components.scoring.conformal import Calibration

if TYPE_CHECKING:
    import pyarrow as pa

CODES = ("code", "codes")
_NOTE = b"hourglass"


@dataclass(frozen=True)
class Part:
    """One file of scored records."""

    key: str
    """What it is known by."""
    name: str
    """Path below the folder."""
    ids: list[str]
    scores: np.ndarray
    """(record,) float32."""
    p_values: np.ndarray | None = None
    """As the scorer gave them (record,)."""
    codes: np.ndarray | None = None
    """(record, unit) float32."""

    def is_of(self, calibration: Calibration) -> bool:
        """Whether the p-values follow from this calibration; those of another version hardly ever do."""
        if self.p_values is None:
            return True
        return bool((np.abs(calibration.p_values(self.scores) - self.p_values) < 0.5 / (calibration.n + 1)).all())


def new_parts(folder: Path, known: Collection[str]) -> Iterator[Part]:
    """The parts that are not known yet, one in memory at a time.

    Raises:
        UserError: no such folder, or a part that cannot be read or has no scores.
    """
    if not folder.is_dir():
        raise UserError(str(folder), "is not there", "name the folder that scoring writes to")
    seen = set(known)
    for path in sorted(folder.rglob("part-*.parquet")):
        where = path.relative_to(folder)
        # what begins with a dot is not finished yet
        if not any(name.startswith(".") for name in where.parts) and (part := _read(path, where.as_posix(), seen)):
            seen.add(part.key)
            yield part


def _read(path: Path, name: str, known: Collection[str]) -> Part | None:
    """One part; None where its key is known."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            key = _key(file.metadata.metadata) or name
            if key in known:
                return None
            names = set(file.schema_arrow.names)
            if "score" not in names:
                raise UserError(str(path), f"has no column 'score' ({', '.join(sorted(names))})", "name scored records")
            table = file.read([column for column in ("id", "score", "p_value", *CODES) if column in names])
    except pa.ArrowException as error:
        what = f"is no readable part ({str(error).partition(chr(10))[0]})"
        raise UserError(str(path), what, "score that batch again") from None
    ids = table["id"].cast(pa.string()).to_pylist() if "id" in names else map(str, range(len(table)))
    return Part(
        key,
        name,
        list(ids),
        _numbers(table["score"], np.float32),
        _numbers(table["p_value"], np.float64) if "p_value" in names else None,
        next((_codes(table[column]) for column in CODES if column in names), None),
    )


def _key(metadata: dict[bytes, bytes] | None) -> str | None:
    try:
        return json.loads((metadata or {})[_NOTE])["key"]
    except (KeyError, TypeError, ValueError):
        return None


def _numbers(column: "pa.ChunkedArray", dtype: type) -> np.ndarray:
    return column.to_numpy().astype(dtype)  # what is null becomes NaN


def _codes(column: "pa.ChunkedArray") -> np.ndarray:
    import pyarrow as pa

    whole = column.combine_chunks()
    lists = whole.cast(pa.list_(pa.float32())) if not pa.types.is_list(whole.type) else whole
    flat = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return flat.reshape(len(lists), -1)

"""Scored batches as they lie in a folder: `part-*.parquet`, each looked at once, in the order of their paths.

A part holds at least `score`; `id`, `p_value` and a list column `code` (or `codes`) are used where they are there.
"""

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


@dataclass(frozen=True)
class Part:
    """One file of scored records."""

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
    for path in sorted(folder.rglob("part-*.parquet")):
        if (name := path.relative_to(folder).as_posix()) not in known:
            yield read_part(path, name)


def read_part(path: Path, name: str) -> Part:
    """One part.

    Raises:
        UserError: it cannot be read, or has no scores.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
        names = set(table.column_names)
        if "score" not in names:
            raise UserError(str(path), f"has no column 'score' ({', '.join(sorted(names))})", "name scored records")
        ids = table["id"].cast(pa.string()).to_pylist() if "id" in names else map(str, range(len(table)))
        return Part(
            name,
            list(ids),
            _numbers(table["score"], np.float32),
            _numbers(table["p_value"], np.float64) if "p_value" in names else None,
            next((_codes(table[column]) for column in CODES if column in names), None),
        )
    except pa.ArrowException as error:
        what = f"is no readable part ({str(error).partition(chr(10))[0]})"
        raise UserError(str(path), what, "score that batch again") from None


def _numbers(column: "pa.ChunkedArray", dtype: type) -> np.ndarray:
    return column.to_numpy().astype(dtype)  # what is null becomes NaN


def _codes(column: "pa.ChunkedArray") -> np.ndarray:
    import pyarrow as pa

    whole = column.combine_chunks()
    lists = whole.cast(pa.list_(pa.float32())) if not pa.types.is_list(whole.type) else whole
    flat = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return flat.reshape(len(lists), -1)

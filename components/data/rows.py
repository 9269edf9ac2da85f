"""The raw columns of a prepared table, read a few rows at a time."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from components.data.columns import Column
from components.data.splits import PREPARED, Split
from components.runtime.errors import UserError

Rows = dict[str, np.ndarray]
"""Column, then its values (row,): float32 (NaN where missing; a date is days since the column's origin) or str (''
where missing; a boolean is 'true' or 'false')."""


def read_rows(split: Split, columns: Sequence[Column], prepared: Path = PREPARED, size: int = 1024) -> Iterator[Rows]:
    """The rows of a split as preprocess.onnx takes them, in their order, `size` at a time.

    Raises:
        UserError: the file is missing, damaged, or lacks a column.
    """
    import pyarrow.parquet as pq
    from pyarrow import ArrowInvalid

    path, again = prepared / f"{split}.parquet", "run `dvc repro -f -s prepare` to make it again"
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(size, columns=[column.name for column in columns]):
                yield {column.name: batch[column.name].to_numpy(zero_copy_only=False) for column in columns}
    except FileNotFoundError:
        raise UserError(str(path), "is missing", "run `dvc repro prepare` first") from None
    except ArrowInvalid:
        raise UserError(str(path), "is no valid Parquet file", again) from None
    except KeyError as error:
        raise UserError(str(path), f"has no column {error}", again) from None


def days_to(origin: str) -> float:
    """Days from the first of January 1970 to a column's origin, by which dates of different origins compare."""
    return (datetime.fromisoformat(origin) - datetime(1970, 1, 1)) / timedelta(days=1)

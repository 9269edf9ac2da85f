"""The raw columns of a table against those a version was made for: names, unreadable cells, empty cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.data.columns import Column
from components.drifting.alarms import alarm_rate
from components.preparing.cells import canonical, tidy
from components.preparing.plans import OTHER_LEVEL
from components.runtime.errors import UserError
from components.scoring.metrics import Estimate
from components.sources.table import DELIMITERS

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ColumnState:
    """One column of the reference, in new rows."""

    name: str
    unreadable: Estimate
    """Share of cells that are no value of the column's kind, or a level that training did not have."""
    missing: Estimate
    """Share of empty cells beyond the reference's."""


@dataclass(frozen=True)
class TableState:
    """How new rows compare with the reference."""

    rows: int
    gone: list[str]
    new: list[str]
    columns: list[ColumnState]


def read_cells(path: Path) -> "pd.DataFrame":
    """The rows of a CSV, TSV or Parquet file as the strings that CSV would hold, '' where there is nothing.

    Raises:
        UserError: it cannot be read.
    """
    import pandas as pd

    try:
        if path.suffix.lower() in DELIMITERS:
            delimiter = DELIMITERS[path.suffix.lower()]
            return pd.read_csv(path, sep=delimiter, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        rows = pd.read_parquet(path)
        return rows.astype("str").where(rows.notna(), "")
    except (ValueError, OSError) as error:  # pyarrow's and pandas' own errors are ValueErrors
        raise UserError(str(path), f"cannot be read as a table ({error})", "export it again") from None


def compare(
    columns: Sequence[Column], missing: Mapping[str, float], rows: "pd.DataFrame", confidence: float
) -> TableState:
    """Compare new rows with the reference.

    Args:
        columns: of the reference.
        missing: column, then its share of empty cells in the reference.
        rows: cells as strings, at least one row.
        confidence: of the intervals.
    """
    names = [column.name for column in columns]
    return TableState(
        len(rows),
        [name for name in names if name not in rows],
        [str(name) for name in rows.columns if name not in names],
        [_state(column, missing, rows[column.name], confidence) for column in columns if column.name in rows],
    )


def _state(column: Column, missing: Mapping[str, float], cells: "pd.Series", confidence: float) -> ColumnState:
    tidied = tidy(cells)
    empty = (tidied == "").to_numpy()
    usual = missing.get(column.name, 0.0)
    rate, low, high = alarm_rate(empty, confidence)
    unreadable = alarm_rate(~empty & _is_strange(column, tidied), confidence)
    return ColumnState(column.name, unreadable, Estimate(rate - usual, low - usual, high - usual))


def _is_strange(column: Column, cells: "pd.Series") -> np.ndarray:
    """Which cells are no value of the column (cell,) bool; empty ones may be either."""
    if column.kind == "categorical":
        # among words too rare for a level of their own, a new one is nothing new
        return ~cells.isin(column.levels).to_numpy() & (OTHER_LEVEL not in column.levels)
    values = canonical(cells, column.kind, column.origin)
    return (values == "") if values.dtype == object else ~np.isfinite(values)

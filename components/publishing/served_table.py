"""The registered model of a table: scorer.onnx behind MLflow's pyfunc interface, fed with a user's DataFrame as it is.

MLflow copies this file into the version and runs it where the model is served, so it imports nothing of this project
but what packaging writes into it: mlflow, numpy, onnxruntime, pandas and the standard library are all that a server
needs. What it knows of the columns and of the words for "no value", "true" and "false" stands in columns.json beside
the graph, as prepare used them.
"""

import datetime
import json
import math
import re
from collections.abc import Callable, Hashable
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

from components.publishing.served_graph import Graph

LARGEST = float(np.finfo(np.float32).max)  # what the graph can take
LONGEST_CELL = 60  # characters of a cell in a message
EXPECTED = {
    "numeric": "a finite number",
    "boolean": "true or false",
    "categorical": "a word, a whole number or true or false",
    "date": "a date (ISO 8601 where it is text)",
}


class TableScorer(mlflow.pyfunc.PythonModel):
    """Rows of a table to score, p_value, is_anomaly and each column's contribution to the score."""

    def load_context(self, context: Any) -> None:
        """Open the graph once per server process."""
        self.graph = Graph(context)
        rules = json.loads(Path(context.artifacts["columns"]).read_text(encoding="utf-8"))
        words = {name: frozenset(rules[name]) for name in ("missing", "true", "false")}
        self.converters = [Converter(column, words) for column in rules["columns"]]

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row per record, with the index of the input.

        Args:
            model_input: a column for each of the signature's, of any type that can be understood; others are ignored.
            params: see `Graph.answer`.

        Raises:
            MlflowException: a cell cannot be understood; and as `Graph.check_size` and `Graph.answer`.
        """
        rows = _one_per_record(model_input)
        self.graph.check_size(len(rows))
        feed = {converter.name: converter.convert(rows[converter.name]) for converter in self.converters}
        found = self.graph.answer(feed, params)
        floats = {name: "float64" for name, values in found.items() if values.dtype == np.float32}
        return pd.DataFrame(found, index=rows.index).astype(floats)


class Converter:
    """Cells of one column to what the graph takes, by the rules that prepare went by.

    Args:
        column: name, kind, levels and origin, as in columns.json.
        words: "missing", "true" and "false", then the cells that mean it.
    """

    def __init__(self, column: dict[str, Any], words: dict[str, frozenset[str]]) -> None:
        self.name, self.kind, self.words = column["name"], column["kind"], words
        self.levels = frozenset(column["levels"])
        if self.kind == "date":
            self.origin = datetime.datetime.fromisoformat(column["origin"])
        kinds: dict[str, Callable[[Any], float | str]] = {
            "numeric": self._number,
            "boolean": self._truth,
            "categorical": self._level,
            "date": self._days,
        }
        self.parse = kinds[self.kind]
        is_text = self.kind in ("boolean", "categorical")
        self.missing, self.dtype = ("", object) if is_text else (math.nan, np.float32)

    def convert(self, cells: pd.Series) -> np.ndarray:
        """The values (row,): float32, or str in an object array.

        Raises:
            MlflowException: a cell cannot be understood; names column, row, what was found and what is expected.
        """
        return np.array([self._convert(index, cell) for index, cell in cells.items()], self.dtype)

    def _convert(self, index: Hashable, cell: Any) -> float | str:
        if isinstance(cell, str):
            cell = cell.strip()
        if self._is_missing(cell):
            return self.missing
        try:
            return self.parse(cell)
        except (ValueError, TypeError, OverflowError):
            found = repr(cell)
            short = found if len(found) <= LONGEST_CELL else f"{found[:LONGEST_CELL]}…"
            raise MlflowException.invalid_parameter_value(
                f"column '{self.name}', row {index}: found {short} ({type(cell).__name__}), "
                f"expected {EXPECTED[self.kind]}, or nothing for a missing value"
            ) from None

    def _is_missing(self, cell: Any) -> bool:
        if isinstance(cell, str):
            return cell in self.words["missing"]
        return bool(pd.api.types.is_scalar(cell) and pd.isna(cell))

    @staticmethod
    def _number(cell: Any) -> float:
        # Python reads 1_000 as a number, a CSV reader does not
        if not isinstance(cell, str | Real | Decimal | np.bool_) or (isinstance(cell, str) and "_" in cell):
            raise TypeError
        number = float(cell)
        if not abs(number) <= LARGEST:
            raise ValueError
        return number

    def _truth(self, cell: Any) -> str:
        if isinstance(cell, str):
            word = cell.lower()
        elif isinstance(cell, Real | np.bool_) and cell in (0, 1):
            return "true" if cell else "false"
        else:
            raise TypeError
        for truth in ("true", "false"):
            if word in self.words[truth]:
                return truth
        raise ValueError

    def _level(self, cell: Any) -> str:
        spellings = _spellings(cell)
        return next((spelling for spelling in spellings if spelling in self.levels), spellings[0])

    def _days(self, cell: Any) -> float:
        moment = _read_moment(cell) if isinstance(cell, str) else _moment(cell)
        if moment.tzinfo:
            moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
        return (moment - self.origin) / datetime.timedelta(days=1)


def _one_per_record(rows: pd.DataFrame) -> pd.DataFrame:
    """Undo what MLflow makes of {column: [word, word]} when all columns hold words, or none holds anything: one record
    of lists.
    """
    packed = len(rows) == 1 and len(rows.columns) and all(isinstance(cell, list) for cell in rows.iloc[0])
    if not packed:
        return rows
    lengths = {name: len(cell) for name, cell in rows.iloc[0].items()}
    if len(set(lengths.values())) > 1:
        counted = ", ".join(f"'{name}' {length}" for name, length in lengths.items())
        raise MlflowException.invalid_parameter_value(f"columns differ in length: {counted}")
    if not any(lengths.values()):
        return rows.iloc[:0]  # of no list, explode makes one record of missing values
    return rows.explode(list(rows.columns), ignore_index=True)


def _spellings(cell: Any) -> tuple[str, ...]:
    """How text files may have spelled a level; pandas turns whole numbers into 3.0 where some are missing."""
    if isinstance(cell, str):
        return (cell,)
    if isinstance(cell, bool | np.bool_):
        return str(cell), str(cell).lower()
    if isinstance(cell, Real | Decimal) and cell == int(cell):
        return str(int(cell)), f"{int(cell)}.0"
    if isinstance(cell, Real | Decimal):
        return (str(cell),)
    raise TypeError


def _read_moment(text: str) -> datetime.datetime:
    # Python reads 20210131 as a date, prepare as a number
    if not re.match(r"\d{4}-\d{2}-\d{2}", text):
        raise ValueError
    return datetime.datetime.fromisoformat(text)


def _moment(cell: Any) -> datetime.datetime:
    if isinstance(cell, datetime.datetime):
        return cell
    if isinstance(cell, datetime.date):
        return datetime.datetime(cell.year, cell.month, cell.day)
    if isinstance(cell, np.datetime64):
        return pd.Timestamp(cell)
    raise TypeError


mlflow.models.set_model(TableScorer())

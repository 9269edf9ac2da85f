"""The columns of a table, as the manifest describes them: the contract between a user's rows and a model's features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

PREPROCESS = "preprocess.onnx"
"""File of the graph that turns raw columns into features; the manifest names its digest."""
FEATURES = "features"
"""The output of that graph (batch, feature)."""
CONTRIBUTION = "contribution."
"""Beginning of the outputs of an exported table that belong to one column each."""
RESERVED = (FEATURES, "reconstruction", "code", "score", "p_value", "is_anomaly", "contributions")
"""Names in the exported graph, where a column is an input by its own name and no two values may share one."""

ColumnKind = Literal["numeric", "boolean", "categorical", "date"]

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?")
"""Cells that mean "no value", in preparing as in serving."""
TRUE_WORDS = ("true", "yes", "t", "y", "1")
FALSE_WORDS = ("false", "no", "f", "n", "0")
"""Cells of a boolean column, in any case; 1 and 0 alone make a numeric column unless it is declared boolean."""


@dataclass(frozen=True)
class Column:
    """One raw column that is used, and the features that preprocess.onnx makes of it."""

    name: str
    kind: ColumnKind
    start: int
    """First feature."""
    stop: int
    """Behind the last feature."""
    levels: list[str]
    """What each feature of a boolean or categorical column stands for; empty for numbers and dates."""
    origin: str | None = None
    """Dates enter as days since this one (ISO 8601)."""

    @property
    def is_one_hot(self) -> bool:
        """Whether its features are levels, one of which is 1."""
        return bool(self.levels)


def column_of(columns: Sequence[Column]) -> list[int]:
    """Number of the column that each feature belongs to (feature,)."""
    return [number for number, column in enumerate(columns) for _ in range(column.start, column.stop)]

"""How each column of a table becomes features: fixed once from training rows, and obeyed by every later row."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from components.data.columns import Column, ColumnKind
from components.preparing.cells import canonical, to_instants, to_words

MISSING_LEVEL = "(missing)"
OTHER_LEVEL = "(other)"
NO_LEVEL = ""
"""What an unseen word becomes where no rare ones were folded: none of the levels."""


@dataclass(frozen=True)
class Plan:
    """One used column."""

    name: str
    kind: ColumnKind
    origin: str | None = None
    """Of a date: the day of the earliest one."""
    has_missing: bool = False
    """Whether a value is missing in training; that is a feature then."""
    levels: tuple[str, ...] = ()
    """Of words: what the features stand for."""
    folds: Mapping[str, str] = field(default_factory=dict)
    """Of words: what each known one is taken for."""
    unknown: str = NO_LEVEL
    """Of words: what any other is taken for."""

    @property
    def is_words(self) -> bool:
        """Whether it becomes levels; otherwise it is a number."""
        return bool(self.levels)

    @property
    def width(self) -> int:
        """Features."""
        return len(self.levels) if self.is_words else 1 + self.has_missing

    def canonical(self, cells: pd.Series) -> np.ndarray:
        """Tidy cells as preprocess.onnx takes them: (cell,) float32, or str objects."""
        return canonical(cells, self.kind, self.origin)

    def fold(self, words: np.ndarray) -> np.ndarray:
        """The level of each canonical word (cell,)."""
        return np.array([self.folds.get(word, self.unknown) for word in words], object)


def plan(cells: pd.Series, kind: ColumnKind, min_level_count: int) -> Plan | str:
    """Fix a column from tidy training cells; a string says why it is of no use."""
    name, empty = str(cells.name), cells == ""
    if empty.all():
        return "all missing in train"
    if kind == "numeric":
        return Plan(name, kind, has_missing=bool(empty.any()))
    if kind == "date":
        instants = to_instants(cells)
        origin = np.nanmin(instants).astype("datetime64[D]")
        return Plan(name, kind, str(origin), has_missing=bool(empty.any()))
    return _plan_words(name, kind, cells, min_level_count)


def _plan_words(name: str, kind: ColumnKind, cells: pd.Series, min_level_count: int) -> Plan | str:
    counts = Counter((to_words(cells) if kind == "boolean" else cells).tolist())
    has_missing = counts.pop("", 0) > 0
    if kind == "boolean":
        kept, rare = ["false", "true"], False
    else:
        kept = sorted(word for word, count in counts.items() if count >= min_level_count)
        rare = len(kept) < len(counts)
        if not kept:
            return f"every level is rarer than prepare.min_level_count ({min_level_count}) in train"
    levels = dict.fromkeys([*kept, *[OTHER_LEVEL] * rare, *[MISSING_LEVEL] * has_missing])
    folds = {**{word: word for word in kept}, "": MISSING_LEVEL}
    unknown = OTHER_LEVEL if rare else NO_LEVEL
    return Plan(name, kind, None, has_missing, tuple(levels), folds, unknown)


def describe(plans: Sequence[Plan]) -> list[Column]:
    """The columns as the manifest names them, their features one behind the other."""
    columns, start = [], 0
    for each in plans:
        columns.append(Column(each.name, each.kind, start, start + each.width, list(each.levels), each.origin))
        start += each.width
    return columns

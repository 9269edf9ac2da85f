"""What prepare asks of raw data, whatever its kind: contents to deal by, and arrays once they are dealt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from components.data.columns import Column
from components.data.splits import Scaling, Split

Rows = Mapping[Split, np.ndarray]
"""Split, then the numbers of its records, ascending."""


@dataclass(frozen=True)
class Layout:
    """The part of the manifest that the kind of data decides."""

    item_shape: list[int]
    dtype: Literal["uint8", "float32"]
    value_range: list[float]
    scaling: Scaling
    columns: list[Column] = field(default_factory=list)
    dropped_columns: dict[str, str] = field(default_factory=dict)
    column_ranges: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    """What was noticed while the records went by, for the checks; None where the kind of data knows no such thing."""

    files: int = 0
    """Files that were read."""
    rejected: Mapping[str, str] = field(default_factory=dict)
    """Name of each corrupt file that was left out, then what is wrong with it."""
    near_constant: int | None = None
    """Images of (almost) one grey value."""
    missing: Mapping[str, float] | None = None
    """Column, then the share of its cells that are empty."""
    outside: Mapping[str, int] | None = None
    """Column, then records outside of the range that params declare for it."""
    contents: np.ndarray | None = None
    """(record, 2) uint64, a hash of each record's content, where records are dealt by something else (a group)."""


class Content(Protocol):
    """Raw data of one kind."""

    kind: Literal["image", "array", "table"]
    classes: tuple[str, ...]
    source_normal: tuple[str, ...] | None
    """Classes that the source itself calls normal."""
    labels: np.ndarray
    """(record,) int64 index into classes, -1 without labels."""
    own_test: np.ndarray
    """(record,) bool, whether the source itself calls it test."""

    def hashes(self, key: str) -> np.ndarray:
        """What records are dealt by: (record, 2) uint64; records with the same hash share a split."""

    def write(self, folder: Path, rows: Rows) -> Layout:
        """Write SPLIT.npy for every split."""

    def observed(self) -> Observed:
        """What was noticed; asked after `write`."""

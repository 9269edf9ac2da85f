"""What each column of a table holds: found out in one pass, with memory that does not grow with the rows.

A column is a number, a boolean or a date when every cell is, and categorical otherwise. One that is mostly numbers or
dates and holds a few other words is a mistake somewhere, and refused: nobody wants those words to become levels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from components.data.columns import ColumnKind
from components.preparing.cells import LARGEST, to_instants, to_numbers, to_words
from components.runtime.errors import UserError

MOST_LEVELS = 1000
"""Distinct words of a column beyond which it is taken for an identifier or a text, unless it is declared."""
_FIXES = {
    "numeric": "mend the cell",
    "date": "write dates like 2026-01-31",
    "boolean": "write true or false",
}


@dataclass
class _Fit:
    """How many cells read as one kind, and the first that does not."""

    count: int = 0
    misfit: tuple[int, str] | None = None

    def update(self, fits: np.ndarray, cells: pd.Series, rows: np.ndarray) -> None:
        self.count += int(fits.sum())
        if self.misfit is None:
            self.misfit = _first(~fits, cells, rows)


class ColumnProfile:
    """What is remembered of a column while its cells go by."""

    def __init__(self, name: str) -> None:
        self.name, self.cells, self.present = name, 0, 0
        self._fits: dict[str, _Fit] = {"boolean": _Fit(), "numeric": _Fit(), "date": _Fit()}
        self._too_large: tuple[int, str] | None = None
        self._levels: set[str] | None = set()  # None once there are too many
        self._counts_up = True
        self._last: float | None = None

    def update(self, cells: pd.Series, start: int) -> None:
        """Take tidy cells, the first of which is in row `start`, counted from 0."""
        filled = (cells != "").to_numpy(bool)
        self.cells += len(cells)
        self.present += int(filled.sum())
        rows, cells = start + np.flatnonzero(filled), cells[filled]
        numbers = to_numbers(cells)
        self._fits["numeric"].update(~np.isnan(numbers), cells, rows)
        self._fits["date"].update(~np.isnat(to_instants(cells)), cells, rows)
        self._fits["boolean"].update((to_words(cells) != "").to_numpy(bool), cells, rows)
        self._too_large = self._too_large or _first(np.abs(numbers) > LARGEST, cells, rows)
        self._collect_levels(cells)
        self._check_order(numbers, bool(filled.all()))

    def kind(self, declared: ColumnKind | None) -> ColumnKind:
        """The kind of the column, as declared or found.

        Raises:
            UserError: a cell that does not fit, or a number that no model can be fed.
        """
        kind = declared or self._found()
        misfit = self._fits[kind].misfit if kind in self._fits else None
        if misfit:
            what = f"declares '{kind}', and row {misfit[0]} holds '{misfit[1]}'"
            raise UserError(f"prepare.columns.{self.name}", what, f"{_FIXES[kind]}, or declare it categorical or drop")
        if kind == "numeric" and self._too_large:
            row, cell = self._too_large
            what = f"column '{self.name}', row {row}: '{cell}' is beyond the largest number, {LARGEST:.3g}"
            raise UserError("artifacts/ingest", what, "mend the cell, or leave it empty")
        return kind

    def reason_to_drop(self, declared: ColumnKind | None) -> str | None:
        """Why the column tells a model nothing; None where it is of use. A declared kind is trusted."""
        if not self.present:
            return "all missing"
        if declared:
            return None
        if self._counts_up and self.present > 2:
            return "identifier-like: counts the rows"
        if self._levels is None:
            return f"identifier-like: more than {MOST_LEVELS:,} distinct values" if self._is_words() else None
        if len(self._levels) == 1 and self.present == self.cells:
            return "constant"
        if self._is_words() and 2 * len(self._levels) > self.present:
            return f"identifier-like: {len(self._levels):,} distinct values in {self.present:,} cells"
        return None

    def _found(self) -> ColumnKind:
        for kind in ("numeric", "boolean", "date"):
            if self._fits[kind].misfit is None:
                return kind
        for kind, plural in (("numeric", "numbers"), ("date", "dates")):
            fit = self._fits[kind]
            if 2 * fit.count > self.present and fit.misfit:
                row, cell = fit.misfit
                what = f"column '{self.name}', row {row}: '{cell}' among {plural}"
                raise UserError("artifacts/ingest", what, f"mend the cell, or declare prepare.columns.{self.name}")
        return "categorical"

    def _is_words(self) -> bool:
        return all(fit.count == 0 or 2 * fit.count <= self.present for fit in self._fits.values())

    def _collect_levels(self, cells: pd.Series) -> None:
        if self._levels is not None:
            self._levels.update(cells.unique())
            if len(self._levels) > MOST_LEVELS:
                self._levels = None

    def _check_order(self, numbers: np.ndarray, complete: bool) -> None:
        if not (self._counts_up and complete):
            self._counts_up = False
        elif len(numbers):
            before = numbers[0] - 1 if self._last is None else self._last
            self._counts_up = bool((np.diff(numbers, prepend=before) == 1).all() and numbers[0] % 1 == 0)
            self._last = float(numbers[-1])


@dataclass(frozen=True)
class Recognised:
    """The columns of a table, in its order."""

    kinds: dict[str, ColumnKind]
    """Used columns."""
    dropped: dict[str, str]
    """Others, and why."""
    missing: dict[str, float]
    """Share of empty cells of each used column."""


def recognise(profiles: Sequence[ColumnProfile], declared: Mapping[str, str]) -> Recognised:
    """Settle what every column is.

    Raises:
        UserError: a cell that does not fit its column, or no column that is of use.
    """
    kinds: dict[str, ColumnKind] = {}
    dropped: dict[str, str] = {}
    missing: dict[str, float] = {}
    for profile in profiles:
        wish = declared.get(profile.name)
        reason = "declared" if wish == "drop" else profile.reason_to_drop(wish)
        if reason:
            dropped[profile.name] = reason
        else:
            kinds[profile.name] = profile.kind(wish)
            missing[profile.name] = 1 - profile.present / profile.cells
    if not kinds:
        raise no_column_left(dropped)
    return Recognised(kinds, dropped, missing)


def no_column_left(dropped: Mapping[str, str]) -> UserError:
    """The error for a table that tells a model nothing."""
    reasons = ", ".join(f"{name} ({reason})" for name, reason in list(dropped.items())[:5])
    what = f"no column is of use: {reasons or 'there is none beside label and group'}"
    return UserError("artifacts/ingest", what, "check the table, or declare kinds in prepare.columns")


def _first(wrong: np.ndarray, cells: pd.Series, rows: np.ndarray) -> tuple[int, str] | None:
    """Row, counted from 1 below the header, and content of the first wrong cell."""
    if not wrong.any():
        return None
    index = int(wrong.argmax())
    return int(rows[index]) + 1, cells.iloc[index][:40]

"""The form of what an analysis finds: a sentence, numbers, tables and pictures, and how they are written down."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from components.reporting.plots import save

Cell = str | int | float


@dataclass(frozen=True)
class Table:
    """Rows of cells under headings."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    """Each with a cell for every heading."""

    @classmethod
    def of_columns(cls, caption: str, columns: Mapping[str, Sequence[Cell]]) -> "Table":
        """The table of columns of equal length, by heading."""
        return cls(caption, list(columns), list(zip(*columns.values(), strict=True)))

    def write_csv(self, path: Path) -> None:
        """One line per row, in their order; nine digits give a float32 back exactly."""
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(self.headings)
            for row in self.rows:
                writer.writerow([f"{cell:.9g}" if isinstance(cell, float) else cell for cell in row])


@dataclass(frozen=True)
class Picture:
    """A figure with what stands under it and what is read aloud instead of it."""

    figure: Figure
    caption: str
    alternative: str
    """What a person who sees it would take from it, numbers included."""


@dataclass(frozen=True)
class Outcome:
    """What one analysis found."""

    answer: str
    """To the question of the analysis, in one or two sentences."""
    numbers: Mapping[str, float]
    tables: Mapping[str, Table] = field(default_factory=dict)
    """File name without its ending, which begins with the analysis', then the table."""
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    """The same of pictures."""

    def write_files(self, tables: Path, plots: Path) -> None:
        """Every table as CSV and every picture as SVG, into folders that exist."""
        for name, table in self.tables.items():
            table.write_csv(tables / f"{name}.csv")
        for name, picture in self.pictures.items():
            save(picture.figure, plots / f"{name}.svg")


@dataclass(frozen=True)
class Skipped:
    """An analysis that did not apply."""

    reason: str
    """A clause."""

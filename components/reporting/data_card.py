"""The data card of the report: what the data is, where it came from, what was left out, and what the checks found."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from components.comparing.wording import number, percent
from components.data.splits import Manifest
from components.reporting.figures import inline
from components.runtime.outputs import read_json

ROWS = 100
"""Columns in the table; the rest are counted."""
NAMED = 10
"""Levels of a column and corrupt files that are named."""


@dataclass(frozen=True)
class ColumnRow:
    """One column as people read it; empty where there is nothing to say."""

    name: str
    kind: str
    range: str
    levels: str
    missing: str


@dataclass(frozen=True)
class DataCard:
    """What the section shows beside the manifest."""

    examples: Markup
    """A figure with a few records of each class."""
    columns: list[ColumnRow]
    more_columns: int
    findings: list[dict[str, Any]]
    """Of validation.json."""
    rejected: dict[str, str]
    """The first corrupt files, by name, with what is wrong with them."""
    more_rejected: int


def load_card(manifest: Manifest, prepared: Path) -> DataCard:
    """The card of artifacts/prepare.

    Raises:
        UserError: validation.json is missing or damaged.
    """
    validation = read_json(prepared / "validation.json", "prepare")
    rows = list(_columns(manifest, validation["missing"]))
    rejected = sorted(validation["rejected"].items())
    return DataCard(
        examples=inline(prepared / "examples.svg", "data.examples.", "A few records of each class."),
        columns=rows[:ROWS],
        more_columns=len(rows[ROWS:]),
        findings=validation["findings"],
        rejected=dict(rejected[:NAMED]),
        more_rejected=len(rejected[NAMED:]),
    )


def _columns(manifest: Manifest, missing: dict[str, float]) -> Iterator[ColumnRow]:
    """Columns of a table, or the numbered ones of arrays."""
    columns = {column.name: column for column in manifest.columns}
    for name in columns or manifest.column_ranges:
        kind, levels = (columns[name].kind, columns[name].levels) if columns else ("numeric", [])
        more = f" and {len(levels) - NAMED} more" if len(levels) > NAMED else ""
        yield ColumnRow(
            name=name,
            kind=kind,
            range=" to ".join(map(number, manifest.column_ranges.get(name, ()))),
            levels=", ".join(levels[:NAMED]) + more,
            missing=percent(missing[name]) if name in missing else "",
        )

"""analysis.html: what the analyses of one variant found, on a page that needs no network and no script."""

from collections.abc import Mapping
from pathlib import Path

from components.analyses import AnalysisEntry
from components.analysing.outcome import Outcome, Skipped
from components.reporting.figures import inline
from components.reporting.pages import environment

MOST_ROWS = 100
"""Rows of a table on the page; its CSV file holds all."""


def render(
    variant: str,
    model: str,
    source: str,
    records: Mapping[str, int],
    found: Mapping[str, tuple[AnalysisEntry, Outcome | Skipped]],
    plots: Path,
) -> str:
    """The page.

    Args:
        variant: its name.
        model: that of its model.
        source: of the data.
        records: looked at, by split.
        found: each analysis with what came of it, by name.
        plots: folder with the pictures as SVG.
    """
    pictures = {
        name: {
            file: inline(plots / f"{file}.svg", f"{file}.", picture.alternative)
            for file, picture in outcome.pictures.items()
        }
        for name, (_, outcome) in found.items()
        if isinstance(outcome, Outcome)
    }
    return (
        environment()
        .get_template("analysis.html.j2")
        .render(
            variant=variant,
            model=model,
            source=source,
            records=records,
            applied={name: pair for name, pair in found.items() if isinstance(pair[1], Outcome)},
            skipped={name: pair for name, pair in found.items() if isinstance(pair[1], Skipped)},
            pictures=pictures,
            most_rows=MOST_ROWS,
        )
    )

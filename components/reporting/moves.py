"""The history of the alias `champion` in a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components.comparing.wording import number
from components.publishing.moves import Entry


def print_moves(entries: Sequence[Entry]) -> None:
    """Print every move: when, what was decided about which version, who leads since, why."""
    # a log is no terminal: without a width of its own, rich would fold reasons at 80
    console = Console(highlight=False, soft_wrap=True, width=200)
    if not entries:
        console.print("no version was ever decided about")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("", "UTC", "move", "version", "champion", "reason"):
        justify = "right" if heading in ("", "version", "champion") else "left"
        table.add_column(heading, justify=justify, overflow="fold")
    for entry in entries:
        move, state = entry.move, "" if entry.state == "done" else f" ({entry.state})"
        table.add_row(
            number(entry.number),
            f"{entry.at:%Y-%m-%d %H:%M}",
            f"{move.kind}{state}",
            move.version,
            move.after.champion or "-",
            escape(move.reason),
        )
    console.print(table)

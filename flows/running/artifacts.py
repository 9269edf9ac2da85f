"""What Prefect's UI shows of a run: its numbers as a table and a link to its report."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.running.tasks import log

LEADERBOARD = Path("artifacts/compare/leaderboard.json")
REPORT = Path("artifacts/compare/report.html")


@contextmanager
def _only_for_show() -> Iterator[None]:
    """What Prefect's server does not take must not stop what is done without it."""
    import httpx

    try:
        yield
    except httpx.HTTPError as error:
        log(f"Prefect does not show the results: {error}")


@_only_for_show()
def show_results() -> None:
    """Attach both to the flow run that is under way, where they exist."""
    from prefect.artifacts import create_link_artifact, create_table_artifact

    if LEADERBOARD.is_file():
        board = json.loads(LEADERBOARD.read_text())
        rows = {**board["rows"], **board.get("baselines", {})}
        table = [{"variant": name, **row} for name, row in rows.items()]
        table.sort(key=lambda row: row.get("rank") or len(table))
        winner = f"winner by {board['rule']}: {board['winner'] or 'none'}, of {board['candidates']} candidates"
        create_table_artifact(table, key="leaderboard", description=winner)
    if REPORT.is_file():
        create_link_artifact(REPORT.resolve().as_uri(), link_text=str(REPORT), key="report")


@_only_for_show()
def show_look(look: dict[str, Any]) -> None:
    """Attach what `components.drift` found, and its report, to the flow run that is under way."""
    from prefect.artifacts import create_link_artifact, create_table_artifact

    shown = ("title", "verdict", "effect", "low", "high", "limit", "text")
    table = [{name: finding[name] for name in shown} for finding in look["findings"]]
    about = f"{look['name']} version {look['version']}: {look['new_records']} new records, {look['records']} in all"
    create_table_artifact(table, key="monitoring", description=about)
    create_link_artifact(Path(look["report"]).resolve().as_uri(), link_text=look["report"], key="monitoring-report")

"""What Prefect's UI shows of a run: the leaderboard as a table and a link to the report."""

import json
from pathlib import Path

LEADERBOARD = Path("artifacts/compare/leaderboard.json")
REPORT = Path("artifacts/compare/report.html")


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

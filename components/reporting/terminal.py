"""The leaderboard in a terminal: enough to know the answer and where to read on."""

from typing import Any

from rich.console import Console
from rich.table import Table

from components.comparing.wording import interval, number, percent, ratio


def print_leaderboard(board: dict[str, Any], rule: str, report: str) -> None:
    """Print the table, the winner with the number of candidates, and whether it may be promoted."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for heading in ("code", "parameters", "validation", "test", "95 %", "alarms", "AUROC"):
        table.add_column(heading, justify="right")
    rows = sorted(board["rows"].items(), key=lambda row: row[1]["rank"])
    for name, row in rows:
        table.add_row(
            name,
            number(row["latent_dim"]),
            number(row["parameters"]),
            ratio(row["validation_mse_ratio_to_pca"]),
            ratio(row["mse_ratio_to_pca"]),
            interval(row, "mse_ratio_to_pca"),
            percent(row["false_alarm_rate"]),
            ratio(row["auroc"]) if "auroc" in row else "-",
            style="bold" if name == board["winner"] else None,
        )
    # a log is no terminal: without a width of its own, rich would fold the table at 80
    console = Console(highlight=False, soft_wrap=True, width=160)
    console.print("validation and test: squared error as a share of PCA's at the same code size", style="dim")
    console.print(table)
    console.print(f"winner: {board['winner']}, of {board['candidates']} candidates ({rule})")
    verdict = "eligible for promotion" if board["eligible"] else f"not eligible: {'; '.join(board['reasons'])}"
    console.print(verdict)
    console.print(f"report: {report}")

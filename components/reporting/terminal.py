"""The leaderboard and its changes in a terminal: enough to know the answer and where to read on."""

from typing import Any

from rich.console import Console
from rich.table import Table

from components.comparing.changes import Change, Changes
from components.comparing.wording import interval, number, percent, ratio, signed


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
    for name, row in board["baselines"].items():
        alarms, area = percent(row["false_alarm_rate"]), ratio(row["auroc"]) if "auroc" in row else "-"
        table.add_row(name, "baseline", *[""] * 4, alarms, area, style="dim")
    console = _console()
    console.print("validation and test: squared error as a share of PCA's at the same code size", style="dim")
    console.print(table)
    console.print(f"winner: {board['winner']}, of {board['candidates']} candidates ({rule})")
    verdict = "eligible for promotion" if board["eligible"] else f"not eligible: {'; '.join(board['reasons'])}"
    console.print(verdict)
    for finding in board["findings"]:
        console.print(f"{finding[0].lower()}{finding[1:]}")
    console.print(f"report: {report}")


def print_changes(changes: Changes) -> None:
    """Print what changed since another commit: the winner, params, then metrics with their relative change."""
    console = _console()
    console.print(f"against {changes.revision}:", markup=False)
    for change in (changes.winner, changes.eligible):
        console.print(f"{change.name}: {_then_and_now(change)}", markup=False)
    for what, variants in (("new", changes.added), ("removed", changes.removed)):
        if variants:
            console.print(f"{what}: {', '.join(variants)}", markup=False)
    if not changes.params:
        console.print("params: as they were")
    for change in changes.params:
        console.print(f"params {change.name}: {_then_and_now(change)}", markup=False)
    if not changes.metrics:
        console.print("metrics of variants in both: as they were")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading, justify in (("variant", "left"), ("metric", "left"), ("then", "right"), ("now", "right"),
                             ("change", "right"), ("95 % intervals", "left")):  # fmt: skip
        table.add_column(heading, justify=justify)
    for change in changes.metrics:
        relative = "" if change.relative is None else f"{signed(100 * change.relative)} %"
        overlap = {None: "", True: "overlap", False: "apart"}[change.overlap]
        table.add_row(change.of, change.name, _value(change.before), _value(change.after), relative, overlap)
    console.print(table)


def _then_and_now(change: Change) -> str:
    if change.before == change.after:
        return f"{_value(change.after)}, as before"
    return f"{_value(change.before)} -> {_value(change.after)}"


def _value(value: Any) -> str:
    if value is None:
        return "-"
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _console() -> Console:
    # a log is no terminal: without a width of its own, rich would fold a table at 80
    return Console(highlight=False, soft_wrap=True, width=160)

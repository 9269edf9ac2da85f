"""What a sweep found, as a table for programs, one for people, and a picture with PCA beside it."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from components.comparing.wording import interval, number, ratio
from components.reporting import INK
from components.reporting.plots import NORMAL, WIDTH, log_scale, styled

METRICS = (
    "validation_mse",
    "validation_pca_mse",
    "validation_mse_ratio_to_pca",
    "validation_mse_ratio_to_pca_low",
    "validation_mse_ratio_to_pca_high",
    "training_mse",
)
"""Of fit.json, in the order of the table's columns."""
_WIDE = 10  # a range of values with a larger ratio of its ends has a logarithmic axis


@dataclass(frozen=True)
class Row:
    """One point of a sweep."""

    experiment: str
    value: str
    fit: Mapping[str, float] | None
    """fit.json; None where the point failed."""


def best(rows: Sequence[Row]) -> Row | None:
    """The row with the smallest squared error against PCA's at the same code size, on validation."""
    done = [row for row in rows if row.fit]
    return min(done, key=lambda row: row.fit["validation_mse_ratio_to_pca"], default=None)


def write_table(rows: Sequence[Row], key: str, path: Path) -> None:
    """CSV with every digit; a point that failed has no numbers."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["experiment", key, *METRICS])
        for row in rows:
            writer.writerow([row.experiment, row.value, *(row.fit[name] if row.fit else "" for name in METRICS)])


def print_table(rows: Sequence[Row], key: str) -> None:
    """The same with the digits that matter."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for heading in (key.rpartition(".")[2], "error", "PCA's error", "ratio", "95 %"):
        table.add_column(heading, justify="right")
    winner = best(rows)
    for row in rows:
        cells = ["failed"]
        if row.fit:
            ours, theirs, share = (row.fit[name] for name in METRICS[:3])
            cells = [number(ours), number(theirs), ratio(share), interval(row.fit, METRICS[2])]
        table.add_row(row.experiment, row.value, *cells, style="bold" if row is winner else None)
    # a log is no terminal: without a width of its own, rich would fold the table at 80
    console = Console(highlight=False, soft_wrap=True, width=160)
    console.print("validation: mean squared error in scaled units, and as a share of PCA's at the same code size")
    console.print(table)


@styled
def errors_over(rows: Sequence[Row], key: str, variant: str) -> Figure:
    """Validation error of each value that came to its end, and PCA's at the same code size.

    Numbers stand where they belong on the axis and are joined; other values stand side by side in their order.
    """
    done = [row for row in rows if row.fit]
    numbers = _numbers([row.value for row in done])
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    order = np.arange(len(done)) if numbers is None else np.argsort(numbers, kind="stable")
    at, line = (order, "none") if numbers is None else (numbers[order], "-")
    ours, theirs = (np.array([done[row].fit[name] for row in order]) for name in METRICS[:2])
    axes.plot(at, theirs, "s", color=INK, linestyle=line, markersize=5, label="PCA at the same code size")
    axes.plot(at, ours, "o", color=NORMAL, linestyle=line, markersize=6, label=variant)
    if at[0] > 0 and at[-1] / at[0] >= _WIDE:
        log_scale(axes, "x")
    axes.set_xticks(at, [done[row].value for row in order])
    axes.margins(x=0.05 if line == "-" else 0.15)
    if min(errors := [*ours, *theirs]) > 0 and max(errors) / min(errors) >= _WIDE:
        log_scale(axes, "y")
    else:
        axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    axes.set_xlabel(key)
    axes.set_ylabel("mean squared error, scaled units")
    axes.set_title("Error on validation")
    axes.legend(loc="best")
    return figure


def _numbers(values: Sequence[str]) -> np.ndarray | None:
    """The values as numbers (value,) float64, or None where one of them is no number."""
    try:
        return np.array([float(value) for value in values])
    except ValueError:
        return None

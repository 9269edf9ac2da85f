"""The one-class protocol: each class in turn is normal, everything is trained on its records alone, areas are averaged.

Protocol: Ruff et al., "Deep One-Class Classification", ICML 2018.
"""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

Row = dict[str, str]
"""A line of leaderboard.csv."""


def rows(leaderboard: Path) -> list[Row]:
    """The lines of one run."""
    with leaderboard.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def table(runs: Mapping[str, list[Row]]) -> str:
    """A table in Markdown: methods by their mean area, the best first, and what each reached where a class is normal.

    Classes have records of their own, so their intervals (95 %) are independent, and that of the mean is narrower.
    """
    classes = list(runs)
    methods = [row["variant"] for row in runs[classes[0]]]
    found = {name: [_row(runs[normal], name) for normal in classes] for name in methods}
    head = f"| method | mean AUROC, 95 % | {' | '.join(classes)} |"
    lines = [head, "| --- " * (len(classes) + 2) + "|"]
    for name, of in sorted(found.items(), key=lambda item: -_mean(item[1])):
        half = math.hypot(*(_half_width(row) for row in of)) / len(of)
        cells = [name, f"{_mean(of):.4f} ± {half:.4f}", *(f"{float(row['auroc']):.3f}" for row in of)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _row(run: list[Row], method: str) -> Row:
    return next(row for row in run if row["variant"] == method)


def _mean(of: list[Row]) -> float:
    return fmean(float(row["auroc"]) for row in of)


def _half_width(row: Row) -> float:
    return (float(row["auroc_high"]) - float(row["auroc_low"])) / 2

"""The one-class protocol: each class in turn is normal, everything is trained on its records alone, areas are averaged.

Protocol: Ruff et al., "Deep One-Class Classification", ICML 2018.
"""

import csv
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean


@dataclass(frozen=True)
class Row:
    """How well one method tells one class from all others, on test; the interval holds 95 %."""

    normal: str
    method: str
    auroc: float
    low: float
    high: float


def rows(normal: str, variants: Iterable[str], baselines: Iterable[str], artifacts: Path) -> list[Row]:
    """What one run found, of variants and of simple methods."""
    stages = [*(("evaluate", name) for name in variants), *(("baseline", name) for name in baselines)]
    metrics = {name: json.loads((artifacts / stage / name / "metrics.json").read_text()) for stage, name in stages}
    area = ("auroc", "auroc_low", "auroc_high")
    return [Row(normal, method, *(of[name] for name in area)) for method, of in metrics.items()]


def write_csv(path: Path, found: Sequence[Row]) -> None:
    """One line per class and method."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(asdict(found[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in found)


def table(found: Sequence[Row]) -> str:
    """In Markdown: methods by their mean area, the best first, and what each reached where a class is normal.

    Classes have records of their own, so their errors are taken as independent, and the mean's interval is narrower.
    """
    classes = list(dict.fromkeys(row.normal for row in found))
    methods = {name: [row for row in found if row.method == name] for name in sorted({row.method for row in found})}
    lines = [f"| method | mean AUROC, 95 % | {' | '.join(classes)} |", "| --- " * (len(classes) + 2) + "|"]
    for name, of in sorted(methods.items(), key=lambda item: -_mean(item[1])):
        half = math.hypot(*((row.high - row.low) / 2 for row in of)) / len(of)
        cells = [name, f"{_mean(of):.4f} ± {half:.4f}", *(f"{row.auroc:.3f}" for row in of)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _mean(of: Sequence[Row]) -> float:
    return fmean(row.auroc for row in of)

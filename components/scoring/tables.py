"""Records as lines of CSV files, one table for whatever judged them; without torch."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.scoring.conformal import Calibration

Columns = dict[str, Sequence[Any] | np.ndarray]
"""A column's name, then its values (record,)."""


def judged_columns(
    classes: Sequence[str], anomalous: np.ndarray, scores: np.ndarray, calibration: Calibration
) -> Columns:
    """What records are, and what is decided about them. Shapes: (record,) each."""
    return {
        "class": classes,
        "is_anomalous": anomalous,
        "score": scores,
        "p_value": calibration.p_values(scores),
        "is_alarm": calibration.alarms(scores),
    }


def write_records(path: Path, columns: Mapping[str, Sequence[Any] | np.ndarray]) -> None:
    """One line per record, in their order; nine digits give a float32 back exactly."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["record", *columns])
        for record, values in enumerate(zip(*columns.values(), strict=True)):
            writer.writerow([record, *map(_cell, values)])


def _cell(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return f"{value:.9g}"
    return int(value) if isinstance(value, bool | np.bool) else value

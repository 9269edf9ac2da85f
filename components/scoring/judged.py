"""Records and what a calibrated model says about them: the common ground of tables and pictures."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from components.data.columns import Column
from components.models import Autoencoder
from components.scoring.conformal import Calibration
from components.scoring.detector import Detector


@dataclass(frozen=True)
class Judged:
    """Records with labels, scores and decisions."""

    detector: Detector
    scale: nn.Module
    calibration: Calibration
    records: np.ndarray
    """Raw (record, *item)."""
    classes: list[str]
    """Class name of each record, "" without labels."""
    anomalous: np.ndarray
    """(record,) bool."""
    scores: np.ndarray
    """(record,) float32."""
    columns: list[Column] = field(default_factory=list)
    """Raw columns behind the features of a table; empty for other data."""

    @property
    def model(self) -> Autoencoder:
        """The detector's."""
        return self.detector.model

    @property
    def p_values(self) -> np.ndarray:
        """(record,) float64."""
        return self.calibration.p_values(self.scores)

    @property
    def alarms(self) -> np.ndarray:
        """(record,) bool."""
        return self.calibration.alarms(self.scores)

    def write_csv(self, path: Path, squared_errors: np.ndarray) -> None:
        """One line per record; `squared_errors` (record,) of the reconstructions are what models are compared by."""
        write_records(
            path,
            {
                "class": self.classes,
                "is_anomalous": self.anomalous,
                "score": self.scores,
                "p_value": self.p_values,
                "is_alarm": self.alarms,
                "squared_error": squared_errors,
            },
        )


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

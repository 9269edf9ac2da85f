"""Records and what a calibrated model says about them: the common ground of tables and pictures."""

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import nn

from components.data.columns import Column
from components.models import Autoencoder
from components.scoring.conformal import Calibration


@dataclass(frozen=True)
class Judged:
    """Records with labels, scores and decisions."""

    model: Autoencoder
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
    def p_values(self) -> np.ndarray:
        """(record,) float64."""
        return self.calibration.p_values(self.scores)

    @property
    def alarms(self) -> np.ndarray:
        """(record,) bool."""
        return self.calibration.alarms(self.scores)

    def write_csv(self, path: Path) -> None:
        """One line per record, in their order; nine digits give a float32 back exactly."""
        columns = (self.classes, self.anomalous, self.scores, self.p_values, self.alarms)
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["record", "class", "is_anomalous", "score", "p_value", "is_alarm"])
            for record, (name, anomalous, score, p_value, alarm) in enumerate(zip(*columns, strict=True)):
                writer.writerow([record, name, int(anomalous), f"{score:.9g}", f"{p_value:.9g}", int(alarm)])

"""Records and what a calibrated model says about them: the common ground of tables and pictures."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import nn

from components.data.columns import Column
from components.models import Autoencoder
from components.scoring.conformal import Calibration
from components.scoring.detector import Detector
from components.scoring.tables import judged_columns, write_records


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
        judged = judged_columns(self.classes, self.anomalous, self.scores, self.calibration)
        write_records(path, {**judged, "squared_error": squared_errors})

"""The way in that suits a kind of data."""

from pathlib import Path

from components.data.splits import Manifest
from components.exporting.array_intake import ArrayIntake
from components.exporting.intake import Intake
from components.exporting.table_intake import TableIntake
from components.scoring.conformal import Calibration
from components.scoring.detector import Detector


def make_intake(manifest: Manifest, prepared: Path, detector: Detector, calibration: Calibration) -> Intake:
    """See `Intake`.

    Raises:
        UserError: of a table, preprocess.onnx is missing, damaged, or written for another operator set.
    """
    kind = TableIntake if manifest.kind == "table" else ArrayIntake
    return kind(manifest, prepared, detector, calibration)

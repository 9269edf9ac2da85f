"""The study of the student: what it should learn, chosen without a look at test. `make study-student`.

In:   the teachers of the study of compression (tests/studies/compression.yaml), trained where they are not yet
Out:  docs/studies/student/table.csv — every setting with every teacher, on the selection split (normal records that
      nothing was trained on, and both classes of anomalies), and choice.json — what the rule chooses

The rule, fixed before the study ran: of the settings whose squared error of normal records is below PCA's at the same
code size with every teacher, the one with the largest area under the curve, averaged over the teachers. The defaults of
`components/compressing/student.py` are its choice. Test is not opened.
"""

import contextlib
import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import fmean

import numpy as np

from components.compress import load_original
from components.compressing import Original, student
from components.compressing.judging import areas
from components.data.scaling import Scale
from components.data.splits import load_anomalous, load_records
from components.params import load_globals, load_section
from components.runtime.process import make_deterministic
from components.scoring.areas import Scored
from components.scoring.detector import Detector, detect
from components.training.weights import load_pca
from tests.studies._checkouts import prepared

TEACHERS = ("vanilla", "conv")
EPOCHS = 5
"""Of every student here; a sixth and a third of its teacher's."""
SETTINGS: Mapping[str, Mapping[str, float]] = {
    "teacher only": {"record": 0.0},
    "half and half": {"record": 0.5},
    "record only": {"record": 1.0},
    "half and half, codes and scores a tenth": {"record": 0.5, "code": 0.1, "score": 0.1},
    "record only, codes and scores a tenth": {"record": 1.0, "code": 0.1, "score": 0.1},
    "record only, codes a tenth, no scores": {"record": 1.0, "code": 0.1, "score": 0.0},
    "record only, a third of the steps' size": {"record": 1.0, "learning_rate_factor": 1.0},
}
COMMON = {"epochs": EPOCHS, "learning_rate_factor": 3.0, "reconstruction": 1.0, "code": 1.0, "score": 1.0}
"""Where a setting says nothing; written out, so that the table stays true when the defaults follow it."""


@dataclass(frozen=True)
class Row:
    """One student beside its teacher, on selection; the interval of the area that it lost holds 95 %."""

    setting: str
    teacher: str
    parameters_ratio: float
    mse: float
    teacher_mse: float
    pca_mse: float
    auroc: float
    auroc_loss: float
    auroc_loss_low: float
    auroc_loss_high: float


class Judge:
    """The selection split, and a teacher's answers to it."""

    def __init__(self, original: Original) -> None:
        self.original, self.scale = original, Scale(original.manifest)
        self.records = load_records("selection")
        self.anomalous = load_anomalous("selection", original.manifest)
        self.scores, self.mse = self._answers(original.detector)
        pca = load_pca(Path("artifacts/train") / original.variant)
        self.pca_mse = self._answers(original.detector.around(pca))[1]

    def row(self, setting: str, params: student.Params) -> Row:
        """Distil and judge."""
        made = student.METHOD.compress(self.original, params)
        scores, mse = self._answers(made.detector)
        lost = areas(Scored(self.anomalous, np.stack([self.scores, scores], axis=1)))
        share = made.parameters / self.original.parameters
        return Row(setting, self.original.variant, share, mse, self.mse, self.pca_mse, **lost)

    def _answers(self, detector: Detector) -> tuple[np.ndarray, float]:
        """Scores (record,), and the mean squared error of normal records."""
        scores, errors = detect(detector, self.scale, self.records)
        return scores, float(errors[~self.anomalous].mean(dtype=np.float64))


def rows() -> Iterator[Row]:
    """Every setting with every teacher; the working directory is the checkout of the teachers."""
    numbers = load_globals()
    make_deterministic(numbers.threads)
    for teacher in TEACHERS:
        judge = Judge(load_original(teacher, load_section("export").opset, numbers.seed))
        for setting, params in SETTINGS.items():
            row = judge.row(setting, student.Params(**{**COMMON, **params}))
            print(row, flush=True)
            yield row


def choose(found: list[Row]) -> str:
    """The setting that the rule names.

    Raises:
        ValueError: none has an error below PCA's with every teacher.
    """
    by_setting: dict[str, list[Row]] = {}
    for row in found:
        by_setting.setdefault(row.setting, []).append(row)
    better = {name: of for name, of in by_setting.items() if all(row.mse < row.pca_mse for row in of)}
    return max(better, key=lambda name: fmean(row.auroc for row in better[name]))


def run(scratch: Path) -> list[Path]:
    """Run the study; returns the files to keep, which lie in the folder `scratch`."""
    checkout = prepared("compression", *(f"export@{teacher}" for teacher in TEACHERS))
    with contextlib.chdir(checkout):
        found = list(rows())
    table, choice = scratch / "table.csv", scratch / "choice.json"
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([field.name for field in fields(Row)])
        writer.writerows([*astuple(row)[:2], *(f"{value:.5g}" for value in astuple(row)[2:])] for row in found)
    chosen = choose(found)
    choice.write_text(json.dumps({"setting": chosen, **SETTINGS[chosen]}, indent=2) + "\n")
    return [table, choice]

"""What a version expects of the records it will see: its calibration, codes of normal records, how full columns were.

Kept with each version, so that monitoring needs neither the checkout that made it nor data that may have moved on.
Calibration scores are the threshold's own; codes are those of validation records, the normal ones that neither the
weights nor the threshold saw. Nothing is fitted to them here.
"""

from pathlib import Path

import numpy as np

from components.data.batches import batch_of
from components.data.splits import PREPARED, load_manifest, load_records
from components.publishing.runs import copy_file
from components.runtime.outputs import ARTIFACTS, read_json, write_json

REFERENCE = "reference"
"""Folder of a version, beside the model: threshold.json, calibration_scores.npy, missing.json and, except of a table,
codes.npy."""
MOST_CODES = 2000
_CHUNK = 1024


def write_reference(folder: Path, variant: str) -> None:
    """Gather the reference of a variant from artifacts/."""
    for name in ("threshold.json", "calibration_scores.npy"):
        copy_file(ARTIFACTS / "threshold" / variant / name, folder / name)
    write_json(folder / "missing.json", read_json(PREPARED / "validation.json", "prepare")["missing"])
    if not load_manifest().columns:
        np.save(folder / "codes.npy", _codes(ARTIFACTS / "export" / variant / "scorer.onnx"), allow_pickle=False)


def _codes(scorer: Path) -> np.ndarray:
    """Codes of validation records, evenly spaced (record, unit)."""
    from onnxruntime import InferenceSession

    session, records = InferenceSession(scorer, providers=["CPUExecutionProvider"]), load_records("validation")
    rows = np.linspace(0, len(records) - 1, min(MOST_CODES, len(records))).round().astype(int)
    size = batch_of(records.shape[1:], _CHUNK)
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    return np.concatenate([session.run(["code"], {"input": records[part]})[0] for part in parts])

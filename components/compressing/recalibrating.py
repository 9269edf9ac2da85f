"""The threshold of a compressed scorer: fitted to scores of the very graph that will decide, by onnxruntime.

The calibration records are the original's and so is the promise (alpha, confidence); n and m are the same, and only
the scores inside the graph change.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnx import ModelProto, numpy_helper
from onnxruntime import InferenceSession
from torch import from_numpy

from components.compressing import Original
from components.data.batches import RECORDS, batch_of
from components.data.rows import read_rows
from components.data.splits import Manifest, Split, load_records
from components.exporting.scorer import INPUT
from components.scoring.conformal import Calibration, chosen
from components.scoring.ranks import in_rows

Feed = dict[str, np.ndarray]
"""Raw records by input name, as onnxruntime takes them."""
_HELD = ("calibration.largest", "calibration.rows")
"""Ends of the names that what `in_rows` makes of calibration scores has in an exported graph."""


def feeds(
    split: Split, manifest: Manifest, prepared: Path, size: int = RECORDS, rows: np.ndarray | None = None
) -> Iterator[Feed]:
    """Raw records of a split, `size` at a time at most: all of them, or the chosen rows, ascending (row,)."""
    size = min(size, batch_of(manifest.item_shape, RECORDS))
    if manifest.columns:
        first = 0
        for table in read_rows(split, manifest.columns, prepared, size):
            count = len(next(iter(table.values())))
            kept = slice(None) if rows is None else rows[(rows >= first) & (rows < first + count)] - first
            first += count
            yield {name: values[kept] for name, values in table.items()}
        return
    records = load_records(split, prepared)
    for start in range(0, len(records) if rows is None else len(rows), size):
        # a copy: onnxruntime is not handed the read-only memory of a mapped file
        yield {INPUT: np.array(records[start : start + size] if rows is None else records[rows[start : start + size]])}


def scores(session: InferenceSession, batches: Iterator[Feed]) -> np.ndarray:
    """A graph's own scores (record,) float32."""
    return np.concatenate([session.run(["score"], feed)[0] for feed in batches])


def recalibrate(session: InferenceSession, original: Original) -> Calibration:
    """The promise of the original, kept by the scores of another graph.

    Raises:
        UserError: scores that are not finite.
    """
    old, records = original.calibration, original.manifest.size("calibration")
    rows = chosen(records, old.n, original.seed)
    found = scores(session, feeds("calibration", original.manifest, original.prepared, rows=rows))
    return Calibration.fit(found, old.alpha, old.confidence)


def set_calibration(model: ModelProto, calibration: Calibration) -> None:
    """Let a graph decide by other calibration scores, as many as it had."""
    for name, tensor in zip(_HELD, in_rows(from_numpy(calibration.scores)), strict=True):
        (held,) = [initializer for initializer in model.graph.initializer if initializer.name.endswith(name)]
        if list(tensor.shape) != list(held.dims):
            raise ValueError(f"a graph for calibration scores in {list(held.dims)} cannot hold {calibration.n} of them")
        held.CopyFrom(numpy_helper.from_array(tensor.numpy(), held.name))

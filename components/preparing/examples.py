"""A look at the data: a few records of each class, from train where the class is normal, else from selection.

Test is never shown, so that nobody chooses by it. Large pictures are thinned out, to keep the report small.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from components.data.splits import Manifest, load_labels, load_records
from components.reporting import plots

CLASSES = 12
"""Classes that are shown, normal ones first; the report's table counts all."""
EACH = 8
"""Records of a class."""
SIDE = 48
"""Most pixels along a side of a picture."""


def draw_examples(manifest: Manifest, prepared: Path) -> Figure:
    """Pictures of images, and lines of scaled values of everything else."""
    names = sorted(manifest.classes or [""], key=lambda name: name not in manifest.normal_classes)[:CLASSES]
    chosen = [(name, _records(manifest, name, prepared)) for name in names]
    shown = [(name, records) for name, records in chosen if len(records)]
    anomalous = [bool(name) and name not in manifest.normal_classes for name, _ in shown]
    draw = plots.examples if manifest.item.is_image else plots.values
    return draw([_label(name) for name, _ in shown], [records for _, records in shown], anomalous)


def _records(manifest: Manifest, name: str, prepared: Path) -> np.ndarray:
    """Records of a class, evenly from first to last, scaled: (record, *item) float64, or (record, column) if flat."""
    normal = not name or name in manifest.normal_classes
    split = "train" if normal else "selection"
    label = manifest.classes.index(name) if name else -1
    rows = np.flatnonzero(load_labels(split, prepared) == label)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, EACH).round().astype(int))] if len(rows) else rows
    records = load_records(split, prepared)[rows]
    if manifest.item.is_image:
        low, high = manifest.value_range
        return (_thinned(records) - low) / (high - low)
    flat = records.reshape(len(rows), int(np.prod(manifest.item_shape))).astype(np.float64)
    return (flat - np.ravel(manifest.scaling.shift)) / np.ravel(manifest.scaling.scale)


def _thinned(images: np.ndarray) -> np.ndarray:
    """Every n-th pixel of (record, channel, height, width)."""
    step = -(-max(images.shape[2:]) // SIDE)
    return images[:, :, ::step, ::step].astype(np.float64)


def _label(name: str) -> str:
    return "records" if not name else name if len(name) <= 12 else name[:11] + "…"

"""The manifest and the five splits, as prepare leaves them and later stages read them."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from components.data.columns import Column
from components.data.item import Item
from components.runtime.errors import UserError
from components.runtime.outputs import ARTIFACTS, read_json

PREPARED = ARTIFACTS / "prepare"
SPLITS = ("train", "validation", "calibration", "selection", "test")
Split = Literal["train", "validation", "calibration", "selection", "test"]


@dataclass(frozen=True)
class Scaling:
    """scaled = (raw - shift) / scale, per value of a record or one pair for all; part of every exported graph."""

    shift: list[float]
    scale: list[float]

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """Scaled float32 records, bit for bit those of `components.data.scaling.Scale`, without torch.

        Shapes: (record, *item) both.
        """
        shift, scale = (np.squeeze(np.asarray(values, np.float32)) for values in (self.shift, self.scale))
        return (raw.astype(np.float32) - shift) * (np.float32(1) / scale)


@dataclass(frozen=True)
class Manifest:
    """artifacts/prepare/manifest.json."""

    kind: Literal["image", "array", "table"]
    item_shape: list[int]
    """(channel, height, width) for images, (column,) for arrays, (feature,) for tables."""
    dtype: Literal["uint8", "float32"]
    classes: list[str]
    normal_classes: list[str]
    counts: dict[str, dict[str, int]]
    """Split, then class name (`unlabelled` without labels), then records."""
    value_range: list[float]
    """Images: the declared range; arrays and tables: smallest and largest training value."""
    scaling: Scaling
    digests: dict[str, str]
    """File name of each array, then its SHA-256."""
    source: dict[str, str]
    """Name and version of what the raw data came from."""
    dropped: dict[str, int]
    """Reason, then records left out."""
    columns: list[Column] = field(default_factory=list)
    """Of a table: its raw columns and the features they become; empty otherwise."""
    dropped_columns: dict[str, str] = field(default_factory=dict)
    """Of a table: columns that are not used, and why."""
    column_ranges: dict[str, list[float]] = field(default_factory=dict)
    """Column of numbers (its index where it has no name), then its smallest and largest value among all records; for
    checks and people, nothing is fitted to it."""
    raw: dict[str, Any] = field(default_factory=dict)
    """The `digest` of the raw data's listing, its `source` and the `options` it was read with."""

    @property
    def has_anomalies(self) -> bool:
        """Whether test holds labelled anomalous records."""
        return bool(set(self.classes) - set(self.normal_classes))

    @property
    def item(self) -> Item:
        """What a scaled record looks like to a model."""
        groups = tuple((column.start, column.stop) for column in self.columns if column.is_one_hot)
        return Item(tuple(self.item_shape), self.kind == "image", groups)

    def size(self, split: Split) -> int:
        """Records of a split."""
        return sum(self.counts[split].values())

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)


def load_manifest(prepared: Path = PREPARED) -> Manifest:
    """Read the manifest.

    Raises:
        UserError: it is missing or damaged.
    """
    raw = read_json(prepared / "manifest.json", "prepare")
    try:
        columns = [Column(**column) for column in raw.get("columns", ())]
        return Manifest(**{**raw, "scaling": Scaling(**raw["scaling"]), "columns": columns})
    except (TypeError, KeyError):
        raise UserError(str(prepared / "manifest.json"), "has other fields than this version writes",
                        "run `dvc repro -f -s prepare`") from None  # fmt: skip


def load_records(split: Split, prepared: Path = PREPARED) -> np.ndarray:
    """The raw records of a split, memory-mapped and read-only: (record, *item_shape)."""
    return _load(prepared / f"{split}.npy")


def load_labels(split: Split, prepared: Path = PREPARED) -> np.ndarray:
    """The class index of each record of a split (record,), -1 without labels."""
    return _load(prepared / f"{split}_labels.npy")


def load_classes(split: Split, manifest: Manifest, prepared: Path = PREPARED) -> list[str]:
    """The class name of each record of a split, "" without labels."""
    return [manifest.classes[label] if label >= 0 else "" for label in load_labels(split, prepared)]


def load_anomalous(split: Split, manifest: Manifest, prepared: Path = PREPARED) -> np.ndarray:
    """Whether each record of a split is of a class that is not normal (record,) bool."""
    labels = load_labels(split, prepared)
    anomalous = [index for index, name in enumerate(manifest.classes) if name not in manifest.normal_classes]
    return np.isin(labels, anomalous)


def _load(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(str(path), "is missing", "run `dvc repro prepare` first") from None
    except (ValueError, EOFError):
        raise UserError(str(path), "is no valid .npy file", "run `dvc repro -f -s prepare` to make it again") from None

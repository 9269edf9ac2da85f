"""What an analysis looks at: a trained model, PCA at the same code size, and records of train, validation and test.

Calibration and selection records are never opened here. Of a large split evenly spaced records are read, so that an
analysis may hold all it gets in memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from components.analyses import NotApplicableError
from components.data.batches import batch_of
from components.data.scaling import Scale
from components.data.splits import Split, load_anomalous, load_labels, load_manifest, load_records
from components.models import Autoencoder
from components.models import find as find_model
from components.training.initial import build
from components.training.weights import blueprint_of, load_config, load_model, load_pca

BATCH = 1024
"""Records at a time at most."""
MOST_VALUES = 1 << 26
"""Values of a split's records in memory at most: 256 MiB."""


@dataclass(frozen=True)
class Sample:
    """Records of one split in scaled units, and their codes."""

    x: Tensor
    """(record, *item)"""
    code: Tensor
    """The model's (record, code)."""
    pca_code: Tensor
    """(record, component)"""
    labels: np.ndarray
    """Class index (record,), -1 without labels."""
    anomalous: np.ndarray
    """(record,) bool."""

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: np.ndarray) -> "Sample":
        """Some of the records; `rows` are indices or a mask (record,)."""
        chosen = torch.from_numpy(np.flatnonzero(rows) if rows.dtype == bool else rows)
        return Sample(self.x[chosen], self.code[chosen], self.pca_code[chosen], self.labels[rows], self.anomalous[rows])

    def spaced(self, most: int) -> "Sample":
        """At most that many of the records, evenly spaced."""
        return self.take(spaced_rows(len(self), most))

    def spaces(self) -> dict[str, np.ndarray]:
        """The three descriptions of the records that compete, by name (record, value) each."""
        of = {"code": self.code, "record": self.x.flatten(1), "PCA": self.pca_code}
        return {name: values.numpy().astype(np.float64) for name, values in of.items()}


@dataclass(frozen=True)
class Subject:
    """A trained model and records to look at it with."""

    name: str
    model: Autoencoder
    pca: Autoencoder
    """PCA at the same code size."""
    fresh: Callable[[int], Autoencoder] | None
    """The network before its first step, by seed; None for a model fitted in closed form."""
    classes: Sequence[str]
    """Names, by class index."""
    train: Sample
    validation: Sample
    test: Sample
    """Normal and anomalous records."""
    seed: int
    """For all that an analysis draws."""

    @property
    def usual(self) -> Sample:
        """The normal test records."""
        return self.test.take(~self.test.anomalous)

    def labelled(self) -> tuple[Sample, Sample, Sample]:
        """Train, validation and test records with the classes that train knows.

        Raises:
            NotApplicableError: there are no labels, or train holds one class alone.
        """
        taught = np.unique(self.train.labels[self.train.labels >= 0])
        if len(taught) == 0:
            raise NotApplicableError("the records have no labels")
        if len(taught) == 1:
            raise NotApplicableError(f"train holds one class alone, '{self.classes[taught[0]]}'")
        splits = [split.take(np.isin(split.labels, taught)) for split in (self.train, self.validation, self.test)]
        if not all(map(len, splits)):
            raise NotApplicableError("validation or test holds no record of a class that train knows")
        return splits[0], splits[1], splits[2]


@torch.no_grad()
def in_batches(function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """The function's results (record, ...) for values (record, ...), of which a batch is in work at a time."""
    return torch.cat([function(part) for part in values.split(batch_of(values.shape[1:], BATCH))])


def spaced_rows(count: int, most: int) -> np.ndarray:
    """Evenly spaced indices (row,) of at most `most` among `count` records."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def load_subject(trained: Path, prepared: Path, most: int, seed: int) -> Subject:
    """The model in `trained` with at most `most` records of each split.

    Raises:
        UserError: an artifact is missing or damaged.
    """
    manifest, config = load_manifest(prepared), load_config(trained)
    model, pca, scale = load_model(trained), load_pca(trained), Scale(manifest)
    blueprint, init = blueprint_of(config), (config["train"] or {}).get("init")
    most = min(most, max(1, MOST_VALUES // manifest.item.size))

    def sample(split: Split) -> Sample:
        records = load_records(split, prepared)
        rows = spaced_rows(len(records), most)
        x = scale(torch.from_numpy(records[rows]))
        codes = [in_batches(network.encode, x) for network in (model, pca)]
        anomalous = load_anomalous(split, manifest, prepared)[rows]
        return Sample(x, *codes, np.array(load_labels(split, prepared)[rows], int), anomalous)

    return Subject(
        name=trained.name,
        model=model,
        pca=pca,
        fresh=None if find_model(blueprint.model).closed_form else lambda drawn: build(blueprint, init, drawn),
        classes=manifest.classes,
        train=sample("train"),
        validation=sample("validation"),
        test=sample("test"),
        seed=seed,
    )

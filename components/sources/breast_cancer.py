"""breast_cancer: 569 tumours described by 30 measured values, embedded in scikit-learn; benign is normal.

Origin: Wolberg, Mangasarian and Street, "Breast Cancer Wisconsin (Diagnostic)", UCI, 1995.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.sources import Options, Part, RawData, RawFile, Request, Source

CLASSES = ("malignant", "benign")


def fetch(_: Request) -> Iterator[RawFile]:
    """Two files: values.npy (record, column) float32 and labels.npy (record,) int64."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    yield RawFile("values.npy", lambda path: np.save(path, data.data.astype(np.float32)))
    yield RawFile("labels.npy", lambda path: np.save(path, data.target.astype(np.int64)))


def read(raw: Path, _: Options, __: Path) -> RawData:
    """One part without a split of its own."""
    values = np.load(raw / "values.npy", mmap_mode="r", allow_pickle=False)
    labels = np.load(raw / "labels.npy", allow_pickle=False)
    return RawData("array", CLASSES, None, (Part(None, values, labels),), normal_classes=("benign",))


def version() -> str:
    """The library that embeds the data."""
    import sklearn

    return f"scikit-learn {sklearn.__version__}"


SOURCE = Source("569 tumours of 30 values, benign normal, embedded in scikit-learn", fetch, read, version)

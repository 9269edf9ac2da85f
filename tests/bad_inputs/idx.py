"""idx files that are damaged, mislabelled or do not fit together."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
from test_ingest import idx_bytes, write_idx

from bad_inputs import Case

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def _damaged(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        target = write_idx(folder) / name
        target.write_bytes(change(target.read_bytes()))

    return make


def _case(name: str, make: Callable[[Path], object], error: str) -> Case:
    return Case(f"idx: {name}", make, error, {"source": "idx"})


CASES = [
    _case(
        "empty folder",
        lambda _: None,
        "ingest.path: no idx training images in data; expected e.g. train-images-idx3-ubyte.gz",
    ),
    _case(
        "no idx file",
        _damaged(IMAGES, lambda content: b"PNG!" + content),
        f"data/{IMAGES}: is no idx file (it does not start with two zero bytes); fetch it again",
    ),
    _case(
        "truncated",
        _damaged(IMAGES, lambda content: content[:-7]),
        f"artifacts/ingest/{IMAGES}: is truncated: 113 values for shape 6x5x4; fetch it again",
    ),
    _case(
        "zero size",
        _damaged(IMAGES, lambda _: idx_bytes(np.zeros((6, 0, 4)))),
        f"data/{IMAGES}: holds nothing, its shape is 6x0x4; fetch it again",
    ),
    _case(
        "too few labels",
        _damaged(LABELS, lambda _: idx_bytes(np.arange(5))),
        f"artifacts/ingest/{LABELS}: holds 5 labels for 6 images; use the label file that belongs to the images",
    ),
    _case(
        "truncated gzip",
        _damaged(IMAGES, lambda content: gzip.compress(content)[:-9]),
        f"artifacts/ingest/{IMAGES}: is a truncated gzip file; fetch it again",
    ),
]

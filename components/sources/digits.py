"""digits: 1,797 handwritten digits of 8x8 grey values 0..16, embedded in scikit-learn.

Origin: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (its test part).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.sources import Options, Part, RawData, RawFile, Request, Source


def fetch(_: Request) -> Iterator[RawFile]:
    """Two files: images.npy (record, height, width) uint8 and labels.npy (record,) int64."""
    from sklearn.datasets import load_digits

    data = load_digits()
    yield RawFile("images.npy", lambda path: np.save(path, data.images.astype(np.uint8)))
    yield RawFile("labels.npy", lambda path: np.save(path, data.target.astype(np.int64)))


def read(raw: Path, _: Options, __: Path) -> RawData:
    """One part without a split of its own."""
    images = np.load(raw / "images.npy", mmap_mode="r", allow_pickle=False)
    labels = np.load(raw / "labels.npy", allow_pickle=False)
    classes = tuple(str(digit) for digit in range(10))
    return RawData("image", classes, (0.0, 16.0), (Part(None, images[:, None], labels),))


def version() -> str:
    """The library that embeds the data."""
    import sklearn

    return f"scikit-learn {sklearn.__version__}"


SOURCE = Source("1,797 handwritten digits, 8x8, embedded in scikit-learn", fetch, read, version)

"""torchvision:NAME: MNIST, FashionMNIST, KMNIST or CIFAR10, from an existing root, or downloaded.

torchvision unpacks its own formats (CIFAR10's is a pickle, checked against a known digest); what is kept are arrays.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from components.runtime.errors import UserError
from components.runtime.outputs import write_json
from components.sources import Options, Part, RawData, RawFile, Request, Source

DATASETS = ("MNIST", "FashionMNIST", "KMNIST", "CIFAR10")


def fetch(request: Request) -> Iterator[RawFile]:
    """Images (record, channel, height, width) uint8 and labels of both splits, and the names of the classes."""
    root = Path(request.path or "data")
    names: list[str] = []
    for split in ("train", "test"):
        data = _open(str(request.dataset), root, train=split == "train")
        names = [str(name) for name in data.classes]
        yield RawFile(f"{split}_images.npy", partial(np.save, arr=_channels_first(np.asarray(data.data))))
        yield RawFile(f"{split}_labels.npy", partial(np.save, arr=np.asarray(data.targets, np.int64)))
    yield RawFile("classes.json", lambda path: write_json(path, names))


def _open(name: str, root: Path, train: bool) -> Any:
    from torchvision import datasets

    cls = getattr(datasets, name)
    try:
        return cls(root, train=train, download=False)
    except RuntimeError:
        pass  # torchvision's word for "not there": fetch it
    except (ValueError, AssertionError, EOFError, IndexError) as error:
        what = f"the {name} files below {root} are damaged ({type(error).__name__}: {error})"
        raise UserError("ingest.path", what, "remove them and fetch them again") from None
    try:
        return cls(root, train=train, download=True)
    except (OSError, RuntimeError) as error:
        raise UserError(
            "ingest.path",
            f"no complete {name} below {root}, and it cannot be downloaded ({type(error).__name__})",
            f"place torchvision's {name} files there, or use source idx",
        ) from None


def _channels_first(images: np.ndarray) -> np.ndarray:
    if images.ndim == 3:
        return images[:, None]
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def read(raw: Path, _: Options, __: Path) -> RawData:
    """Two parts, as torchvision deals them."""
    import json

    classes = tuple(json.loads((raw / "classes.json").read_text()))
    parts = tuple(
        Part(
            split,
            np.load(raw / f"{split}_images.npy", mmap_mode="r", allow_pickle=False),
            np.load(raw / f"{split}_labels.npy", allow_pickle=False),
        )
        for split in ("train", "test")
    )
    return RawData("image", classes, (0.0, 255.0), parts)


def version() -> str:
    """The library that unpacks the data."""
    from importlib.metadata import version as installed

    return f"torchvision {installed('torchvision')}"


SOURCE = Source("a data set of torchvision, from a root or downloaded", fetch, read, version, datasets=DATASETS)

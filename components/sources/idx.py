"""idx: a folder of MNIST-style idx files (MNIST, EMNIST, KMNIST, Fashion-MNIST and your own), gzipped or not.

Format: two zero bytes, a type byte (8: unsigned byte), the number of dimensions, each dimension as a big-endian
uint32, then the values. File names hold `train`, `t10k` or `test`, and `images` or `labels`.
"""

import gzip
import re
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from components.runtime.errors import UserError
from components.sources import Options, Part, RawData, RawFile, Request, Source

_NAME = re.compile(r"(?P<split>train|t10k|test).*(?P<what>images|labels)", re.IGNORECASE)
_UNSIGNED_BYTE = 8


def fetch(request: Request) -> Iterator[RawFile]:
    """The idx files of the folder as they are; their heads are checked before anything is copied."""
    folder = request.folder
    found = _find(folder)
    if ("train", "images") not in found:
        raise UserError(
            "ingest.path", f"no idx training images in {folder}", "expected e.g. train-images-idx3-ubyte.gz"
        )
    for (_, what), path in sorted(found.items()):
        _read_head(path, 3 if what == "images" else 1)
    for path in found.values():
        yield RawFile(path.name, lambda target, path=path: shutil.copyfile(path, target))


def read(raw: Path, _: Options, scratch: Path) -> RawData:
    """The training part and, where there is one, the test part."""
    found = _find(raw)
    parts = [_read_part(found, split, scratch) for split in ("train", "test") if (split, "images") in found]
    labels = [part.labels for part in parts if part.labels is not None]
    if len(labels) not in (0, len(parts)):
        lacking = next(part.split for part in parts if part.labels is None)
        raise UserError("ingest.path", f"the {lacking} images have no labels and the others have", "add them, or none")
    count = max((int(values.max()) + 1 for values in labels if len(values)), default=0)
    return RawData("image", tuple(str(label) for label in range(count)), (0.0, 255.0), tuple(parts))


def recognises(folder: Path) -> bool:
    """Whether one of the files is named like idx training images."""
    return any(match["split"].lower() == "train" and match["what"].lower() == "images"
               for path in folder.iterdir() if (match := _NAME.search(path.name)))  # fmt: skip


def _find(folder: Path) -> dict[tuple[str, str], Path]:
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(folder.iterdir()):
        if not (path.is_file() and (match := _NAME.search(path.name))):
            continue
        split = "train" if match["split"].lower() == "train" else "test"
        key = (split, match["what"].lower())
        if key in found:
            raise UserError(str(path), f"is a second file of {split} {key[1]}, beside {found[key].name}",
                            "keep one data set per folder")  # fmt: skip
        found[key] = path
    return found


def _read_part(found: dict[tuple[str, str], Path], split: str, scratch: Path) -> Part:
    images_path = found[split, "images"]
    images = _map_values(images_path, 3, scratch)
    labels = None
    if (split, "labels") in found:
        labels = _map_values(found[split, "labels"], 1, scratch).astype(np.int64)
        if len(labels) != len(images):
            raise UserError(str(found[split, "labels"]), f"holds {len(labels)} labels for {len(images)} images",
                            "use the label file that belongs to the images")  # fmt: skip
    return Part(split, images[:, None], labels)


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else path.open("rb")


def _read_head(path: Path, dimensions: int) -> tuple[int, ...]:
    try:
        with _open(path) as stream:
            head = stream.read(4 + 4 * dimensions)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise UserError(str(path), "is a truncated gzip file", "fetch it again") from None
    if len(head) < 4 or head[:2] != b"\0\0":
        raise UserError(str(path), "is no idx file (it does not start with two zero bytes)", "fetch it again")
    if head[2] != _UNSIGNED_BYTE:
        raise UserError(str(path), f"has idx type {head[2]:#04x}, only unsigned bytes (0x08) are read", "convert it")
    if head[3] != dimensions:
        kind = {1: "labels", 3: "images"}
        raise UserError(
            str(path),
            f"is named {kind[dimensions]} and holds {head[3]} dimensions instead of {dimensions}",
            f"check whether it is a file of {kind.get(head[3], 'another kind')}",
        )
    if len(head) < 4 + 4 * dimensions:
        raise UserError(str(path), "is truncated inside its head", "fetch it again")
    shape = struct.unpack(f">{dimensions}I", head[4:])
    if 0 in shape:
        raise UserError(str(path), f"holds nothing, its shape is {'x'.join(map(str, shape))}", "fetch it again")
    return shape


def _map_values(path: Path, dimensions: int, scratch: Path) -> np.ndarray:
    shape = _read_head(path, dimensions)
    plain, offset = _unzipped(path, scratch), 4 + 4 * dimensions
    found, expected = plain.stat().st_size - offset, int(np.prod(shape, dtype=np.int64))
    if found != expected:
        problem = "is truncated" if found < expected else "has bytes behind its end"
        raise UserError(str(path), f"{problem}: {found} values for shape {'x'.join(map(str, shape))}", "fetch it again")
    return np.memmap(plain, np.uint8, "r", offset, shape)


def _unzipped(path: Path, scratch: Path) -> Path:
    """The file itself, or its content unpacked where it can be mapped."""
    with _open(path) as stream:
        if not isinstance(stream, gzip.GzipFile):
            return path
        plain = scratch / f"{path.name}.unzipped"
        try:
            with plain.open("wb") as target:
                shutil.copyfileobj(stream, target, 1 << 20)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise UserError(str(path), "is a truncated gzip file", "fetch it again") from None
        return plain


def version() -> str:
    """The files speak for themselves."""
    return "idx"


SOURCE = Source(
    "a folder of MNIST-style idx files, gzipped or not", fetch, read, version, needs_path=True, recognises=recognises
)

"""npz: arrays of NumPy; a folder with one .npz or with .npy files, or one such file.

The arrays of the .npz, or the names of the .npy files, are `x` (records) and, where there are any, `labels`, `test_x`
and `test_labels`. One .npy file alone is `x`. What `x` holds decides what it is:

- uint8 (record, height, width): grey images, 0..255.
- uint8 (record, channel, height, width) or (record, height, width, channel): images of 1 or 3 channels, 0..255; the
  second axis is the channel where it is 1 or 3, else the last.
- numbers (record, column): arrays. Everything but float32 is converted to it, so whole numbers beyond 2**24 and
  digits beyond the seventh are rounded.

Labels are whole numbers or strings; the classes are their distinct values in ascending order, written as strings.
Object arrays are refused: they are pickles, and nothing is ever unpickled. Nothing is held in memory but labels.
"""

import lzma
import math
import shutil
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from components.params import unknown
from components.runtime.errors import UserError
from components.sources import Options, Part, RawData, RawFile, Request, Source, refuse_escape

NAMES = ("x", "labels", "test_x", "test_labels")
_SUFFIXES = (".npz", ".npy")
_LABELS_OF = {"x": "labels", "test_x": "test_labels"}
_BLOCK_BYTES = 4 << 20
_HEADS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# what zipfile raises on a damaged or encrypted member
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True)
class _Place:
    """Where an array lies: a .npy file, or a member of an archive."""

    name: str
    """One of NAMES."""
    shown: str
    """How errors call it."""
    path: Path
    member: zipfile.ZipInfo | None = None

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.member is None else self.member.file_size

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Its bytes, unpacked.

        Raises:
            UserError: the archive is damaged; also for what is read inside the block.
        """
        if self.member is None:
            with self.path.open("rb") as stream:
                yield stream
            return
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as stream:
                yield stream
        except _DAMAGED as error:
            reason = str(error) or type(error).__name__
            raise UserError(self.shown, f"cannot be unpacked ({reason})", "write the archive again") from None


@dataclass(frozen=True)
class _Array:
    """An array as its head describes it."""

    place: _Place
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    offset: int
    """Bytes before the first value."""

    @property
    def kind(self) -> Literal["image", "array"]:
        return "image" if len(self.shape) > 2 else "array"

    @property
    def channels_last(self) -> bool:
        return len(self.shape) == 4 and self.shape[1] not in (1, 3)

    def refused(self, what: str, fix: str) -> UserError:
        shape = ", ".join(map(str, self.shape)) + "," * (len(self.shape) == 1)
        return UserError(self.place.shown, f"holds {self.dtype} of shape ({shape}), {what}", fix)


def fetch(request: Request) -> Iterator[RawFile]:
    """The file or files as they are; the heads of all arrays are checked before anything is copied.

    Raises:
        UserError: as `read`, or a link that leaves the folder.
    """
    given = Path(request.path or "")
    if given.is_file():
        if given.suffix not in _SUFFIXES:
            raise UserError("ingest.path", f"{given} is no .npz or .npy file", "name one, or a folder of them")
        files = {"x.npy" if given.suffix == ".npy" else given.name: given}
    else:
        files = _files(request.folder)
        for path in files.values():
            refuse_escape(path, given)
    _inspect(files, given)
    for name, path in files.items():
        yield RawFile(name, lambda target, path=path: shutil.copyfile(path, target))


def read(raw: Path, _: Options, scratch: Path) -> RawData:
    """The training part and, where there is one, the test part, mapped.

    Raises:
        UserError: an array that is missing, unknown, damaged, an object array, or of no shape that can be used.
    """
    arrays = _inspect(_files(raw), raw)
    labels = {name: _map(arrays[name], scratch) for name in _LABELS_OF.values() if name in arrays}
    classes = sorted({value for values in labels.values() for value in np.unique(values).tolist()})
    parts = []
    for name, split in (("x", "train"), ("test_x", "test")):
        if name in arrays:
            own = labels.get(_LABELS_OF[name])
            indices = None if own is None else _indices(own, classes)
            parts.append(Part(split if "test_x" in arrays else None, _records(arrays[name], scratch), indices))
    kind = arrays["x"].kind
    return RawData(kind, tuple(map(str, classes)), (0.0, 255.0) if kind == "image" else None, tuple(parts))


def map_records(path: Path) -> np.ndarray:
    """The records of one .npy file, mapped: images (record, channel, height, width) uint8, or numbers (record, column).

    Raises:
        UserError: the file is damaged, or holds no records.
    """
    array = _read_head(_Place("x", str(path), path))
    _check_records(array)
    return _arranged(array, _map(array, path.parent))


def unpack_records(path: Path, target: Path) -> None:
    """Write the array x of a .npz file as a .npy file of its own.

    Raises:
        UserError: the file is damaged, or has no array x.
    """
    place = _members(path).get("x")
    if place is None:
        raise UserError(str(path), "holds no array x", f"name its arrays {', '.join(NAMES)}")
    with place.open() as packed, target.open("wb") as plain:
        shutil.copyfileobj(packed, plain, _BLOCK_BYTES)


def recognises(folder: Path) -> bool:
    """Whether it holds a .npz or .npy file."""
    return bool(_files(folder))


def version() -> str:
    """The files speak for themselves."""
    return "npz"


def _files(folder: Path) -> dict[str, Path]:
    found = (path for path in sorted(folder.iterdir()) if path.suffix in _SUFFIXES and path.is_file())
    return {path.name: path for path in found if not path.name.startswith(".")}


def _inspect(files: Mapping[str, Path], given: Path) -> dict[str, _Array]:
    """Every array by its name, checked as far as heads tell; no value is read."""
    arrays = {name: _read_head(place) for name, place in _places(files, given).items()}
    if "x" not in arrays:
        raise UserError("ingest.path", f"{given} holds no array x", f"name its arrays {', '.join(NAMES)}")
    for name, array in arrays.items():
        if name in _LABELS_OF:
            _check_records(array)
        else:
            _check_labels(array)
    for records, labels in _LABELS_OF.items():
        _check_pair(arrays.get(records), arrays.get(labels))
    if "test_x" in arrays:
        _check_test(arrays)
    return arrays


def _places(files: Mapping[str, Path], given: Path) -> dict[str, _Place]:
    archives = [path for path in files.values() if path.suffix == ".npz"]
    if archives and len(files) > 1:
        raise UserError("ingest.path", f"{given} holds {', '.join(files)}", "keep one .npz, or .npy files alone")
    if archives:
        return _members(archives[0])
    found = {name.removesuffix(".npy"): path for name, path in files.items()}
    return {_known(name, str(path)): _Place(name, str(path), path) for name, path in found.items()}


def _members(path: Path) -> dict[str, _Place]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if any(member.header_offset < 0 for member in members):
                raise zipfile.BadZipFile  # zipfile would find out when it seeks, by an OSError
    except (zipfile.BadZipFile, ValueError):
        raise UserError(str(path), "is no .npz file, or truncated", "write it again with numpy.savez") from None
    places: dict[str, _Place] = {}
    for member in members:
        if any(separator in member.filename for separator in "/\\:"):
            raise UserError(str(path), f"its member {member.filename!r} is a path, no name of an array",
                            "write it again with numpy.savez")  # fmt: skip
        name = _known(member.filename.removesuffix(".npy"), str(path))
        if name in places:
            raise UserError(str(path), f"holds the array {name} twice", "write it again with numpy.savez")
        places[name] = _Place(name, f"{path}, array {name}", path, member)
    return places


def _known(name: str, where: str) -> str:
    if name not in NAMES:
        raise unknown(where, "array", name, NAMES)
    return name


def _read_head(place: _Place) -> _Array:
    with place.open() as stream:
        try:
            read = _HEADS[np.lib.format.read_magic(stream)]
            shape, fortran, dtype = read(stream)
        except (ValueError, KeyError, tokenize.TokenError):  # the last is what numpy lets through
            raise UserError(place.shown, "is no .npy file, or damaged in its head", "save it with numpy.save") from None
        array = _Array(place, shape, fortran, dtype, stream.tell())
    if dtype.hasobject:
        raise UserError(place.shown, "holds Python objects, which are never unpickled",
                        "save numbers or strings of one type")  # fmt: skip
    if any(side < 1 for side in shape):
        raise array.refused("which is nothing", "add records")
    found, expected = place.size - array.offset, math.prod(shape) * dtype.itemsize
    if found != expected:
        problem = "is truncated" if found < expected else "has bytes behind its end"
        raise UserError(place.shown, f"{problem}: {found} bytes of values instead of {expected}", "save it again")
    return array


def _check_records(array: _Array) -> None:
    axes, is_number = len(array.shape), array.dtype.kind in "biuf"
    if axes == 2 and is_number:
        return
    if axes in (3, 4) and array.dtype == np.uint8:
        if axes == 4 and not {array.shape[1], array.shape[3]} & {1, 3}:
            raise array.refused("neither axis 1 nor axis 3 is 1 or 3 channels", "store grey or RGB images")
        return
    raise array.refused(
        "neither uint8 images nor numbers (record, column)",
        "scale images to 0..255 and store them as uint8, flatten other records to columns",
    )


def _check_labels(array: _Array) -> None:
    if len(array.shape) != 1 or array.dtype.kind not in "biuU":
        raise array.refused("labels are whole numbers or strings (record,)", "store one for each record")


def _check_pair(records: _Array | None, labels: _Array | None) -> None:
    if labels is None:
        return
    if records is None:
        raise UserError(labels.place.shown, "has no records beside it", "add test_x, or remove it")
    if labels.shape[0] != records.shape[0]:
        raise UserError(labels.place.shown, f"holds {labels.shape[0]} labels for {records.shape[0]} records",
                        "use the labels that belong to the records")  # fmt: skip


def _check_test(arrays: Mapping[str, _Array]) -> None:
    """Refuse a test part that is of another shape, or labelled in another way, than the rest."""
    train, test = arrays["x"], arrays["test_x"]
    if train.shape[1:] != test.shape[1:]:
        raise test.refused(f"and x is of shape {train.shape}", "store records of one shape in both")
    texts = [arrays[name].dtype.kind == "U" for name in _LABELS_OF.values() if name in arrays]
    if len(texts) == 1:
        raise UserError(test.place.shown, "only one of x and test_x has labels", "add them, or none")
    if len(set(texts)) > 1:
        raise arrays["test_labels"].refused("and labels is of another type", "store both as numbers or as strings")


def _map(array: _Array, scratch: Path) -> np.ndarray:
    """Its values, mapped from where they lie, or from scratch where they must be unpacked."""
    path = array.place.path
    if array.place.member is not None:
        path = scratch / f"{array.place.name}.npy"
        with array.place.open() as packed, path.open("wb") as plain:
            shutil.copyfileobj(packed, plain, _BLOCK_BYTES)
    return np.memmap(path, array.dtype, "r", array.offset, array.shape, "F" if array.fortran else "C")


def _records(array: _Array, scratch: Path) -> np.ndarray:
    """(record, channel, height, width) uint8 or (record, column) float32, mapped."""
    values = _arranged(array, _map(array, scratch))
    return values if values.ndim > 2 or values.dtype == np.float32 else _as_float32(array, values, scratch)


def _arranged(array: _Array, values: np.ndarray) -> np.ndarray:
    """The same values, images as (record, channel, height, width)."""
    if values.ndim == 3:
        return values[:, None]
    return values.transpose(0, 3, 1, 2) if array.channels_last else values


def _as_float32(array: _Array, values: np.ndarray, scratch: Path) -> np.ndarray:
    path = scratch / f"{array.place.name}.float32"
    rows = max(1, _BLOCK_BYTES // (values.shape[1] * values.itemsize))
    with path.open("wb") as stream, np.errstate(over="raise"):
        for low in range(0, len(values), rows):
            try:
                block = np.ascontiguousarray(values[low : low + rows], np.float32)
            except FloatingPointError:
                raise array.refused("some of them beyond the range of float32", "scale them") from None
            stream.write(block.data)
    return np.memmap(path, np.float32, "r", 0, values.shape)


def _indices(labels: np.ndarray, classes: list[int | str]) -> np.ndarray:
    distinct, inverse = np.unique(labels, return_inverse=True)
    position = {value: index for index, value in enumerate(classes)}
    return np.array([position[value] for value in distinct.tolist()], np.int64)[inverse]


SOURCE = Source("arrays of NumPy, one .npz or .npy files", fetch, read, version, needs_path=True, recognises=recognises)

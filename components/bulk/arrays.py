"""Arrays: every .npy file, and the array x of every .npz file; see components/sources/npz.py for what they may hold."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from components.bulk.model import Model
from components.bulk.pieces import Batch, File, Piece, batch_size, digest_of, piece_size
from components.runtime.errors import UserError
from components.sources.npz import map_records, unpack_records

SUFFIXES = (".npy", ".npz")
_MEND = "mend or remove it"


def takes(model: Model) -> bool:
    """Images and arrays."""
    return model.manifest.kind != "table"


def pieces(files: Sequence[File], model: Model, scratch: Path) -> Iterator[Piece]:
    """Rows of each file; an archive is unpacked once."""
    size = piece_size(model)
    for file in files:
        path = file.path
        if path.suffix == ".npz":
            path = scratch / f"{path.stem}.npy"
            unpack_records(file.path, path)
        records = map_records(path)
        _check(file.name, records, model)
        for start in range(0, len(records), size):
            yield Piece((File(file.name, path),), start, min(start + size, len(records)), start)


def digest(piece: Piece) -> str:
    """Type, shape and bytes of its rows."""
    records = map_records(piece.files[0].path)
    head = (str(records.dtype), records.shape[1:], records.strides)
    if records.flags.c_contiguous:
        row = records.strides[0]
        begin = records.offset
        return digest_of(head, [(piece.files[0].path, begin + row * piece.start, begin + row * piece.stop)])
    return digest_of((head, np.ascontiguousarray(records[piece.start : piece.stop]).tobytes()), [])


def batches(piece: Piece, model: Model, _: str | None) -> Iterator[Batch]:
    """Its rows, named FILE:ROW."""
    name, records, size = piece.files[0].name, map_records(piece.files[0].path), batch_size(model)
    for start in range(piece.start, piece.stop, size):
        stop = min(start + size, piece.stop)
        block = np.ascontiguousarray(records[start:stop])
        if block.dtype != model.manifest.dtype:
            block = _as_float32(name, start, block)
        if block.dtype == np.float32:
            _refuse(name, start, ~np.isfinite(block).all(1), "holds NaN or infinity")
        ids = [f"{name}:{row}" for row in range(start, stop)]
        yield Batch(ids, {"input": block})


def _check(name: str, records: np.ndarray, model: Model) -> None:
    fits = list(records.shape[1:]) == model.manifest.item_shape
    if not (fits and (records.dtype == np.uint8 or model.manifest.kind == "array")):
        found = f"{'x'.join(map(str, records.shape[1:]))} ({records.dtype})"
        fix = "score records of the data set that it was trained on"
        raise UserError(name, f"holds records of {found}, and {model} takes {model.takes}", fix)


def _as_float32(name: str, start: int, block: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        narrow = block.astype(np.float32)
    _refuse(name, start, (np.isinf(narrow) & np.isfinite(block)).any(1), "leaves the range of float32")
    return narrow


def _refuse(name: str, start: int, wrong: np.ndarray, what: str) -> None:
    if wrong.any():
        raise UserError(name, f"record {start + int(wrong.argmax())} {what}", _MEND)

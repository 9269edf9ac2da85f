"""Pictures, brought to size and channels as in training; see components/sources/images.py. Each has its name for id."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from components.bulk.model import Model
from components.bulk.pieces import Batch, File, Piece, batch_size, digest_of
from components.runtime.errors import UserError
from components.sources import images

SUFFIXES = images.SUFFIXES


def takes(model: Model) -> bool:
    """Images."""
    return model.manifest.kind == "image"


def pieces(files: Sequence[File], _: Model, __: Path) -> Iterator[Piece]:
    """All of them are one piece."""
    yield Piece(tuple(files), 0, len(files))


def digest(piece: Piece) -> str:
    """The files' bytes."""
    sizes = [file.path.stat().st_size for file in piece.files]
    return digest_of(sizes, [(file.path, 0, size) for file, size in zip(piece.files, sizes, strict=True)])


def batches(piece: Piece, model: Model, _: str | None) -> Iterator[Batch]:
    """Its pictures; those that cannot be had are left out and named."""
    size = batch_size(model)
    with images.strict():
        for start in range(0, len(piece.files), size):
            found = {file.name: _read(file, model) for file in piece.files[start : start + size]}
            rejected = {name: result for name, result in found.items() if isinstance(result, str)}
            kept = {name: result for name, result in found.items() if name not in rejected}
            shape = (len(kept), *model.manifest.item_shape)
            records = np.array(list(kept.values()), np.uint8).reshape(shape)
            yield Batch(list(kept), {"input": records}, rejected)


def _read(file: File, model: Model) -> np.ndarray | str:
    """(channel, height, width) uint8, or why the picture is left out."""
    try:
        record = images.decode(file.path, model.options)
    except UserError as error:
        return error.what
    if isinstance(record, images.Corrupt):
        return record.reason
    if list(record.shape) != model.manifest.item_shape:
        return f"is {'x'.join(map(str, record.shape))}, and {model} takes {model.takes}"
    return record

"""A piece of the input: what is read, scored and written at once, and done again when a run breaks off."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from components.bulk.model import Model
from components.data.batches import batch_of
from components.publishing.listing import identify_records

RECORDS = 1 << 15
"""Records of a piece at most; a row group of Parquet is never divided."""
VALUES = 1 << 25
"""Values of a piece at most: 32 MiB of images."""
BATCH = 1024
"""Records per call of the graph at most: more would leave the caches of a CPU."""
_BLOCK = 1 << 22


@dataclass(frozen=True)
class File:
    """One input file: as it is called, and where it lies for now."""

    name: str
    path: Path


@dataclass(frozen=True)
class Piece:
    """Consecutive records, the same whatever runs beside it."""

    files: tuple[File, ...]
    """Pictures, or the one file that it is cut out of."""
    start: int
    """The first row of an array, byte of CSV or row group of Parquet; 0 of pictures."""
    stop: int
    row: int = 0
    """Number of its first record in the file."""

    @property
    def shown(self) -> str:
        """How people read it."""
        first, last = self.files[0].name, self.files[-1].name
        return f"{first} to {last}" if last != first else f"{first} from row {self.row}" if self.row else first


@dataclass(frozen=True)
class Batch:
    """Records as the graph takes them.

    Shapes: every value of `feed` (record, …).
    """

    ids: Sequence[str]
    feed: Mapping[str, np.ndarray]
    rejected: Mapping[str, str] = field(default_factory=dict)
    """Name of each picture that is left out, then what is wrong with it."""

    @cached_property
    def identities(self) -> np.ndarray:
        """Of the records of an array (record, 2) uint64; see `identify_records`."""
        return identify_records(self.feed["input"])


class Reader(Protocol):
    """A format: a module of this folder."""

    SUFFIXES: tuple[str, ...]

    def takes(self, model: Model) -> bool:
        """Whether it holds records that the model takes."""

    def pieces(self, files: Sequence[File], model: Model, scratch: Path) -> Iterator[Piece]:
        """Divide files that are here; scratch is for what must be unpacked.

        Raises:
            UserError: a file cannot be read, or does not hold what the model takes.
        """

    def digest(self, piece: Piece) -> str:
        """SHA-256 of all that decides its records."""

    def batches(self, piece: Piece, model: Model, id_column: str | None) -> Iterator[Batch]:
        """Its records.

        Raises:
            UserError: a record is not what the model takes.
        """


def piece_size(model: Model) -> int:
    """Records of a piece at most."""
    return max(1, min(RECORDS, VALUES // model.manifest.item.size))


def batch_size(model: Model) -> int:
    """Records of a batch at most."""
    return batch_of(model.manifest.item_shape, BATCH)


def digest_of(head: object, places: Iterable[tuple[Path, int, int]]) -> str:
    """SHA-256 of a head that has a repr, and of some bytes of files: (path, start, stop)."""
    digest = hashlib.sha256(repr(head).encode())
    for path, start, stop in places:
        with path.open("rb") as stream:
            stream.seek(start)
            while start < stop and (block := stream.read(min(_BLOCK, stop - start))):
                digest.update(block)
                start += len(block)
    return digest.hexdigest()

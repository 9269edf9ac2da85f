"""A cache of codes on the local disk: `.work/codes/KEY/SHA256.codes`; what a model makes of a record never changes.

KEY names the encoder as it computes here (components.coding.encoder), SHA256 is the digest of the segment's own bytes.
A segment holds the digests of some records, ascending, then their codes; it is written under another name, renamed, and
never changed again. So a process that is killed leaves no half of one, several may read and write at once, a damaged
one is known by its name and removed, and the whole folder may be deleted at any time.

Of at most `limit_bytes()` in all: beyond that the segments go first that were not used for longest. Small segments are
brought together when a process opens the cache.
"""

import hashlib
import io
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.checkout.lock import if_free
from components.runtime.errors import UserError
from components.runtime.outputs import WORK, complete_file, sha256

CODES = WORK / "codes"
VARIABLE = "HOURGLASS_CODES_MIB"
"""Environment variable: how large the cache may grow; 0 is no cache."""
DEFAULT_MIB = 2048
SMALL = 1 << 15
"""Records of a segment that is brought together with others, at most."""
MOST_SMALL = 8
"""Small segments that are left alone: each is searched for each batch."""
_GROUP = 32  # small segments that are in memory at once
_LEFTOVER_SECONDS = 3600.0  # by which a file that is being written is one of a process that was killed


def limit_bytes() -> int:
    """What all segments of all models may take.

    Raises:
        UserError: the variable holds no whole number.
    """
    text = os.environ.get(VARIABLE, str(DEFAULT_MIB))
    if not text.isdecimal():
        raise UserError(VARIABLE, f"must be a whole number of MiB, got '{text}'", "set it, or unset it for the default")
    return int(text) << 20


@dataclass(frozen=True)
class Segment:
    """One file, mapped."""

    digests: np.ndarray
    """(record, 2) uint64, ascending."""
    codes: np.ndarray
    """(record, unit) float32."""

    @classmethod
    def open(cls, path: Path) -> "Segment":
        """Map a file that is whole."""
        arrays = []
        with path.open("rb") as stream:
            for _ in range(2):
                np.lib.format.read_magic(stream)
                shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
                arrays.append(np.memmap(path, dtype, "r", stream.tell(), shape))
                stream.seek(arrays[-1].nbytes, os.SEEK_CUR)
        return cls(*arrays)

    def find(self, digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places in `digests` (record, 2) of what it holds, and the rows that hold it: (found,) each."""
        rows = np.searchsorted(self.digests[:, 0], digests[:, 0]).clip(max=len(self.digests) - 1)
        places = np.flatnonzero((self.digests[rows] == digests).all(1))
        return places, rows[places]


class Cache:
    """The codes of one encoder.

    Args:
        key: what decides the codes.
        folder: of all encoders' codes.
        limit: bytes that it may hold.
    """

    def __init__(self, key: str, folder: Path, limit: int) -> None:
        self._all, self._folder, self._limit = folder, folder / key, limit
        self._folder.mkdir(parents=True, exist_ok=True)
        self._merge()
        self._segments = [segment for _, segment in self._whole()]

    def find(self, digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of the records are known, and the codes of those.

        Shapes: (record, 2) uint64 -> (record,) bool, (known, unit) float32.
        """
        known, codes = np.zeros(len(digests), bool), None
        for segment in self._segments:
            missing = np.flatnonzero(~known)
            places, rows = segment.find(digests[missing])
            if len(places):
                codes = np.empty((len(digests), segment.codes.shape[1]), np.float32) if codes is None else codes
                codes[missing[places]] = segment.codes[rows]
                known[missing[places]] = True
        return known, np.empty((0, 0), np.float32) if codes is None else codes[known]

    def add(self, digests: np.ndarray, codes: np.ndarray) -> None:
        """Keep some codes in a segment of their own, for processes to come. Shapes: (record, 2), (record, unit)."""
        with suppress(OSError):  # a full disk costs time, never an answer
            if _write(self._folder, digests, codes):
                self._bound()

    def _whole(self) -> list[tuple[Path, Segment]]:
        """Segments whose bytes are those that their name promises; others are removed."""
        found = []
        for path in sorted(self._folder.glob("*.codes")):
            with suppress(FileNotFoundError):  # another process brought it together with others
                if sha256(path) == path.stem:
                    os.utime(path)
                    found.append((path, Segment.open(path)))
                else:
                    path.unlink()
        return found

    def _merge(self) -> None:
        """Bring small segments together, in one process at a time."""
        with if_free(self._folder / "lock") as alone, suppress(OSError):
            if not alone or len(list(self._folder.glob("*.codes"))) <= MOST_SMALL:
                return
            small = [(path, segment) for path, segment in self._whole() if len(segment.digests) <= SMALL]
            for start in range(0, len(small) if len(small) > MOST_SMALL else 0, _GROUP):
                paths, segments = zip(*small[start : start + _GROUP], strict=True)
                digests, codes = ([getattr(each, name) for each in segments] for name in ("digests", "codes"))
                merged = _write(self._folder, np.concatenate(digests), np.concatenate(codes))
                for path in paths:
                    if path != merged:
                        path.unlink(missing_ok=True)

    def _bound(self) -> None:
        """Remove what was not used for longest until all that is left is within the limit."""
        now, held = time.time(), []
        for path in self._all.glob("*/*"):
            with suppress(FileNotFoundError):
                state = path.stat()
                if path.suffix == ".codes":
                    held.append((state.st_mtime_ns, state.st_size, path))
                elif path.suffix == ".tmp" and now - state.st_mtime > _LEFTOVER_SECONDS:
                    path.unlink()
        total = sum(size for _, size, _ in held)
        for _, size, path in sorted(held):
            if total <= self._limit:
                return
            path.unlink(missing_ok=True)
            total -= size


def _write(folder: Path, digests: np.ndarray, codes: np.ndarray) -> Path | None:
    """A segment of these records, each once; None where there are none."""
    if not len(digests):
        return None
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    ascending = digests[order]
    first = np.append(True, (ascending[1:] != ascending[:-1]).any(1))
    stream = io.BytesIO()
    for array in (ascending[first], codes[order[first]]):
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
        stream.write(array.data)
    content = stream.getbuffer()
    path = folder / f"{hashlib.sha256(content).hexdigest()}.codes"
    with complete_file(path) as temporary:
        temporary.write_bytes(content)
    return path

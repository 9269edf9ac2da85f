"""What may go, in batches of one kind."""

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_DAY = 86_400


@dataclass(frozen=True)
class Item:
    """One thing that may go."""

    kind: str
    name: str
    size: int | None
    """Bytes; None where they lie on a server."""
    why: str


@dataclass(frozen=True)
class Batch:
    """Things that go together."""

    items: list[Item]
    remove: Callable[[], object]


def days_since(moment: float) -> float:
    """Days since seconds of the epoch."""
    return (time.time() - moment) / _DAY


def last_change(path: Path) -> float:
    """When a file, or the newest file in a folder, was written: seconds of the epoch."""
    return max((found.st_mtime for found in _stats(path)), default=time.time())


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(found.st_size for found in _stats(path) if not stat.S_ISDIR(found.st_mode))


def _stats(path: Path) -> Iterator[os.stat_result]:
    for each in (path, *path.rglob("*")):
        with suppress(FileNotFoundError):  # it was a process's that is at work
            yield each.lstat()


def remove_folders(folders: Iterable[Path], below: Path | None = None) -> None:
    """Remove folders, and those above them that this leaves empty, up to `below`."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in folder.parents if below else ():
            if not parent.is_relative_to(below) or any(parent.iterdir()):
                break
            parent.rmdir()

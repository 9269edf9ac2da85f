"""DVC's own files survive kill -9 and a full disk, and a file of its cache is not sound because it is read-only.

By itself DVC empties dvc.lock and writes it anew, as it does with its list of locks; who is killed or runs out of space
between the two leaves half of it, which no later command can read. And it takes a file of its cache for sound as long
as it cannot be written, whatever it holds by now.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from components.runtime.outputs import complete_file
from flows.running.lock_file import dump_stages

if TYPE_CHECKING:
    from dvc.repo import Repo


def make_dvc_careful() -> None:
    """In this process: files are written whole, and what comes from the cache is what it is called.

    The digest of an unchanged file (by inode, time and size) is remembered by DVC and costs nothing.
    """
    from dvc.dvcfile import Lockfile
    from dvc.utils.serialize import _common
    from dvc_data.hashfile.db import HashFileDB
    from dvc_data.hashfile.db.local import LocalHashFileDB

    _common._dump_data = _dump_whole
    Lockfile.dump_stages = dump_stages
    LocalHashFileDB.check = HashFileDB.check  # removes a damaged file: its stage then runs again


def forget_torn_locks(repo: "Repo") -> None:
    """Remove DVC's list of who reads and writes what if somebody was killed while writing it."""
    from dvc.lock import make_lock
    from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK

    tmp = Path(repo.tmp_dir)
    with make_lock(os.fspath(tmp / RWLOCK_LOCK), tmp_dir=os.fspath(tmp), wait=True):
        try:
            json.loads((tmp / RWLOCK_FILE).read_text())
        except FileNotFoundError:
            return
        except ValueError:
            (tmp / RWLOCK_FILE).unlink()


def _dump_whole(path: str, data: Any, dumper: Callable[[Any, TextIO], object], **_: object) -> None:
    """What DVC's function of this place does, by a temporary name; its file system is local wherever we run."""
    with complete_file(Path(path)) as temporary, temporary.open("w", encoding="utf-8") as stream:
        dumper(data, stream)

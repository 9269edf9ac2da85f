"""Who holds the checkout: one flow, one publication or one clean-up at a time.

The kernel lets go of a lock when the process that holds it ends, however it ends.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.runtime.errors import UserError
from components.runtime.outputs import WORK

LOCK = WORK / "flow.lock"
PUBLICATION = WORK / "register.lock"


@contextmanager
def one_flow(wait: bool = False) -> Iterator[None]:
    """Hold the checkout; a second one waits or leaves with one clear line.

    Raises:
        UserError: another flow holds it, and `wait` is false.
    """
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = f"another flow (process {file.read().strip() or 'unknown'}) runs in this checkout"
            if not wait:
                raise UserError(str(LOCK), holder, "let it end, or wait for it with --wait") from None
            print(f"waiting: {holder}", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


@contextmanager
def one_publication() -> Iterator[None]:
    """Wait for another publication from this checkout: both would miss each other's runs and write them twice."""
    WORK.mkdir(exist_ok=True)
    with PUBLICATION.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def if_free(path: Path) -> Iterator[bool]:
    """Hold the lock `path` if nobody does, and tell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True

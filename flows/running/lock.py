"""One flow per checkout: a second one waits or leaves with one clear line."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.runtime.errors import UserError

LOCK = Path(".work/flow.lock")


@contextmanager
def one_flow(wait: bool = False) -> Iterator[None]:
    """Hold the checkout; the kernel lets go of it when this process ends, however it ends.

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

"""How far a sync is: a bar on a terminal, now and then a line elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS = 5
"""Between two lines where no terminal watches."""


@contextmanager
def progress(total: int) -> Iterator[Callable[[], None]]:
    """Yields what is to be called for each file that is done; writes to stderr."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = ("syncing", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=total)
            yield lambda: bar.advance(task)
    else:
        yield _lines(total)


def _lines(total: int) -> Callable[[], None]:
    done, last = 0, time.monotonic()

    def advance() -> None:
        nonlocal done, last
        done += 1
        if time.monotonic() - last >= SECONDS:
            last = time.monotonic()
            print(f"synced {done:,} of {total:,} files", file=sys.stderr, flush=True)

    return advance

"""How far something is: a bar on a terminal, now and then a line elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS = 5
"""Between two lines where no terminal watches."""


class Meter:
    """Counts what is done, and shows it.

    Args:
        total: how many there are to do, as far as is known.
        show: is given done and total whenever one of them changes.
    """

    def __init__(self, total: int, show: Callable[[int, int], None]) -> None:
        self._done, self._total, self._show = 0, total, show

    def advance(self) -> None:
        """One more is done."""
        self._done += 1
        self._show(self._done, self._total)

    def extend(self, more: int) -> None:
        """There are more to do than was known."""
        self._total += more


@contextmanager
def progress(total: int, doing: str, done: str, things: str) -> Iterator[Meter]:
    """Yields a meter that writes to stderr.

    Args:
        total: of what is to be done.
        doing: stands before the bar, e.g. "syncing".
        done: begins a line, e.g. "synced".
        things: what is counted, in the plural.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = (doing, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=total)
            yield Meter(total, lambda reached, of: bar.update(task, completed=reached, total=of))
    else:
        yield Meter(total, _lines(done, things))


def _lines(done: str, things: str) -> Callable[[int, int], None]:
    last = time.monotonic()

    def show(reached: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS:
            last = time.monotonic()
            print(f"{done} {reached:,} of {total:,} {things}", file=sys.stderr, flush=True)

    return show

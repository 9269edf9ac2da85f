"""Visit a graph from its roots, several stages at once, each when all that it needs is done."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from graphlib import TopologicalSorter
from queue import SimpleQueue
from typing import Protocol, TypeVar


class Future(Protocol):
    """What both Prefect's futures and those of the standard library offer."""

    def add_done_callback(self, fn: Callable[["Future"], None], /) -> None:
        """Call `fn` with this future when it is done."""


FutureT = TypeVar("FutureT", bound=Future)


def walk(
    upstream: Mapping[str, Sequence[str]],
    jobs: int,
    submit: Callable[[str], FutureT],
    went_well: Callable[[str, FutureT], bool],
) -> None:
    """Submit every stage whose upstream went well, at most `jobs` at once; what stands behind a failure is left out.

    The limit is kept here and not by a pool of `jobs` workers, where stages that still wait would hold the workers.
    """
    sorter = TopologicalSorter(upstream)
    sorter.prepare()
    ready: deque[str] = deque()
    finished: SimpleQueue[tuple[str, FutureT]] = SimpleQueue()
    running = 0
    while True:
        ready.extend(sorter.get_ready())
        while ready and running < jobs:
            name = ready.popleft()
            submit(name).add_done_callback(lambda future, name=name: finished.put((name, future)))
            running += 1
        if not running:
            return
        name, future = finished.get()
        running -= 1
        if went_well(name, future):
            sorter.done(name)

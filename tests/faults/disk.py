"""A full disk at each stage: a small tmpfs that is filled to the last block the moment the stage starts.

Mounting needs root.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tests.faults.family import Family
from tests.faults.result import Result
from tests.faults.world import FLOW, Checkout, Ending, World

STAGES = ("ingest", "prepare", "resolve", "train", "threshold", "evaluate", "export", "compare", "register")
_BLOCK = 4096
_MIB = 300


def provoke(world: World, random: Random, stages: tuple[str, ...] = STAGES) -> Iterator[Result]:
    """Fill the disk at one stage after the other, within one run that goes on each time there is space again."""
    with small_disk(world.folder / "small") as disk:
        checkout, torn = world.fill(disk), set[str]()
        endings = {}
        for stage in stages:
            endings[stage] = _with_full_disk(checkout, stage, _BLOCK * random.randrange(9))
            torn.update(checkout.torn(world.undisturbed))
        last = checkout.run(*FLOW)
        came_to = f"NOT: {last.in_words()}" if last.code else checkout.state().compare(world.undisturbed)
        if torn:
            came_to = f"half-written: {', '.join(sorted(torn))}"
        for stage, ending in endings.items():
            yield Result("disk full", stage, ending.in_words(), came_to)


def _with_full_disk(checkout: Checkout, stage: str, left: int) -> Ending:
    """Run the flow; when this stage is at work, leave that many bytes; free the rest when the flow has ended."""
    flow = checkout.start(*FLOW)
    ballast = checkout.path / ".work/ballast"
    role = "publishing" if stage == "register" else "stage"
    while flow.poll() is None:
        if not ballast.exists() and stage in Family(flow.pid).names(role):
            fill(ballast, left)
        time.sleep(0.005)
    ending = checkout.end_of(flow)
    ballast.unlink(missing_ok=True)
    return ending


def fill(ballast: Path, left: int = 0) -> None:
    """Take all space of a file system but so many bytes."""
    with ballast.open("wb") as file:
        free = os.statvfs(ballast)
        if (size := free.f_bavail * free.f_frsize - left) > 0:
            os.posix_fallocate(file.fileno(), 0, size)


@contextmanager
def small_disk(folder: Path, mebibytes: int = _MIB) -> Iterator[Path]:
    """A file system of its own."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=755", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)

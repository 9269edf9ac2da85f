"""A clock that was moved: every file that a run has left comes from the future, or from years ago.

Moved is the time of the files and not of the processes: libfaketime, which would do the latter, breaks Python's own
waiting (tried, 0.9.10: with the monotonic clock shifted `Event.wait` hangs, without it `time.sleep` fails).
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.faults.family import Family, kill
from tests.faults.result import EQUAL, Result
from tests.faults.world import FLOW, World

_DAY = 86_400


@dataclass(frozen=True)
class Jump:
    """By how many seconds the files' times are off when the run goes on."""

    fault: str
    seconds: int


BACK = Jump("clock moved back a day", _DAY)
JUMPS = (BACK, Jump("clock moved back two years", 730 * _DAY), Jump("clock moved on a year", -365 * _DAY))


def provoke(world: World, random: Random, jumps: tuple[Jump, ...] = JUMPS, stage: str = "evaluate") -> Iterator[Result]:
    """Kill a run at a stage, move the clock, and run it again; then once more, which must find nothing to do."""
    for jump in jumps:
        checkout = world.fresh("clock")
        flow = checkout.start(*FLOW)
        while flow.poll() is None and stage not in Family(flow.pid).names("stage"):
            time.sleep(0.005)
        family = Family(flow.pid)
        kill(family.members)
        flow.wait()
        family.is_gone(15)
        shift(checkout.path, jump.seconds)
        ending = checkout.run(*FLOW)
        came_to = f"NOT: {ending.in_words()}" if ending.code else checkout.state().compare(world.undisturbed)
        if came_to == EQUAL:
            idle = checkout.run(*FLOW)
            came_to = EQUAL if "nothing to do" in idle.said else f"NOT IDLE: {idle.in_words()}"
        yield Result(jump.fault, stage, ending.in_words(), came_to)


def shift(root: Path, seconds: int) -> None:
    """Move the times of everything below a folder."""
    for path in root.rglob("*"):
        now = path.lstat()
        os.utime(path, (now.st_atime + seconds, now.st_mtime + seconds), follow_symlinks=False)

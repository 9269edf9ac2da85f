"""A clock that jumps: libfaketime shifts the time of a whole run, so that files come from the future or the past.

Needs Debian's package libfaketime (tests/install-tools).
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.faults.family import Family, kill
from tests.faults.result import EQUAL, Result
from tests.faults.world import FLOW, World


@dataclass(frozen=True)
class Jump:
    """The clock before a run was killed, and after it."""

    fault: str
    before: str
    after: str


NOW = ""
BACK = Jump("clock moved back a day", NOW, "-1d")
JUMPS = (BACK, Jump("clock moved back two years", "+2y", NOW), Jump("clock moved on a year", NOW, "+1y"))


def provoke(world: World, random: Random, jumps: tuple[Jump, ...] = JUMPS, stage: str = "evaluate") -> Iterator[Result]:
    """Kill a run at a stage, move the clock, and run it again; then once more, which must find nothing to do."""
    for jump in jumps:
        checkout = world.fresh("clock")
        flow = checkout.start(*FLOW, **shifted(jump.before))
        while flow.poll() is None and stage not in Family(flow.pid).names("stage"):
            time.sleep(0.005)
        kill(Family(flow.pid).members)
        flow.wait()
        ending = checkout.run(*FLOW, **shifted(jump.after))
        came_to = f"NOT: {ending.in_words()}" if ending.code else checkout.state().compare(world.undisturbed)
        if came_to == EQUAL:
            idle = checkout.run(*FLOW)
            came_to = EQUAL if "nothing to do" in idle.said else f"NOT IDLE: {idle.in_words()}"
        yield Result(jump.fault, stage, ending.in_words(), came_to)


def shifted(by: str) -> dict[str, str]:
    """The environment of a run whose clock is shifted; the one that measures spans goes on as it is."""
    if not by:
        return {}
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    return {"LD_PRELOAD": str(library), "FAKETIME": by, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

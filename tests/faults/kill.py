"""kill -9 at random times: of the flow, of all that it started, of a stage, of DVC, of publishing, of Prefect's server.

A flow is killed, run again, killed again, until it is through; what it then has must be what an undisturbed run has.
"""

import subprocess
import time
from collections.abc import Iterator
from random import Random

from tests.faults.family import Family, has_children, kill
from tests.faults.result import EQUAL, Result
from tests.faults.world import FLOW, World

VICTIMS = (*("stage",) * 4, *("dvc",) * 3, "flow", "flow", "everything", "everything", "publishing", "server")
"""Drawn from; "everything" dies at once, as in a container that is stopped or on a machine that runs out of memory."""
_SHARE = 0.12
"""Of an undisturbed run: the longest time between two kills."""
_LOOK = 0.01
_CLEAN_UP = 15.0
"""Seconds in which what a killed flow started must have ended by itself."""


def provoke(world: World, random: Random) -> Iterator[Result]:
    """Kill until one run is through."""
    checkout = world.fresh("kill")
    kills: list[tuple[str, str, str]] = []
    torn: set[str] = set()
    while True:
        flow = checkout.start(*FLOW, "--retries", "3")
        hits = list(_life(flow, world.seconds, random))
        ending = checkout.end_of(flow)
        torn.update(checkout.torn(world.undisturbed))
        ended = "went on until the next kill" if ending.code == -9 else ending.in_words()
        kills += [(victim, where, told or ended) for victim, where, told in hits]
        if ending.code == 0:
            break
        if not hits and ending.code:
            kills.append(("nothing", "a run after kills", ending.in_words()))
            break
    came_to = checkout.state().compare(world.undisturbed)
    if torn:
        came_to = f"half-written: {', '.join(sorted(torn))}"
    for victim, where, ended in kills:
        yield Result(f"kill -9 of {victim}", where, ended, came_to)
    if came_to == EQUAL:
        world.drop(checkout)


def _life(flow: "subprocess.Popen[bytes]", seconds: float, random: Random) -> Iterator[tuple[str, str, str]]:
    """Kill at random times while a flow runs: victim, what was going on, and how it ended where that is known."""
    while not _ends_within(flow, random.uniform(0, _SHARE * seconds)):
        victim = random.choice(VICTIMS)
        family = Family(flow.pid)
        if victim in ("flow", "everything"):
            where = family.moment()
            kill(family.members if victim == "everything" else family.members[:1])
            flow.wait()
            gone = family.is_gone(_CLEAN_UP)
            yield victim, where, "nothing outlived it" if gone else "PROCESSES LEFT"
            return
        if found := _wait_for(flow, victim):
            where = ", ".join(sorted(Family(flow.pid).names(victim)))
            kill([found])
            yield victim, where, ""


def _wait_for(flow: "subprocess.Popen[bytes]", victim: str) -> "object | None":
    """The next process of this role: one of DVC's when its stage is done and dvc.lock is not yet written."""
    worked: set[int] = set()
    deadline = time.monotonic() + 10
    while flow.poll() is None and time.monotonic() < deadline:
        for process in Family(flow.pid).of(victim):
            if victim != "dvc":
                return process
            if has_children(process):
                worked.add(process.pid)
            elif process.pid in worked:
                return process
        time.sleep(_LOOK)
    return None


def _ends_within(flow: "subprocess.Popen[bytes]", seconds: float) -> bool:
    try:
        flow.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True

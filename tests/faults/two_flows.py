"""Two at once in one checkout: flows, a flow and `dvc repro`, publications."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from tests.faults.result import Result
from tests.faults.world import FLOW, REGISTER, Checkout, World

REPRO = ("dvc", "repro", "-q")


@dataclass(frozen=True)
class Pair:
    """Two commands that are started at the same moment."""

    fault: str
    first: tuple[str, ...]
    second: tuple[str, ...]


FLOWS = Pair("two flows at once", FLOW, FLOW)
PAIRS = (
    FLOWS,
    Pair("two flows at once with --wait", (*FLOW, "--wait"), (*FLOW, "--wait")),
    Pair("a flow beside `dvc repro`", FLOW, REPRO),
    Pair("two publications at once", REGISTER, REGISTER),
)


def provoke(world: World, random: Random, pairs: tuple[Pair, ...] = PAIRS) -> Iterator[Result]:
    """Start two; then, if one of them was refused, run the flow once more."""
    for pair in pairs:
        checkout = world.unpublished("two") if pair.first == REGISTER else world.fresh("two")
        beside = Checkout(checkout.path, log_name="beside.log")
        processes = [(checkout, checkout.start(*pair.first)), (beside, beside.start(*pair.second))]
        endings = [place.end_of(process) for place, process in processes]
        last = checkout.run(*FLOW) if any(ending.code for ending in endings) else endings[0]
        came_to = f"NOT: {last.in_words()}" if last.code else checkout.state().compare(world.undisturbed)
        yield Result(pair.fault, "start", "; ".join(sorted(ending.in_words() for ending in endings)), came_to)

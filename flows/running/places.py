"""Where stages run: on this machine, or on the nodes of a Ray cluster."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol

from flows.running.children import Children
from flows.running.graph import Plan
from flows.running.slots import Slots, default_jobs, visible_devices
from flows.running.stage import Outcome, run_stage

Runner = Literal["local", "ray"]


class Place(Protocol):
    """What runs stages; the flow calls it from several threads."""

    @property
    def room(self) -> int:
        """Stages that it can run at once."""

    def run(self, name: str, log: Callable[[str], object]) -> Outcome:
        """Run one stage; its upstream stages must be done."""


class ThisMachine:
    """Stages as children of the flow, in its checkout; each that asks for a GPU is given one, where there are any."""

    def __init__(self, plan: Plan, children: Children, per_gpu: int, timeout: float | None) -> None:
        self._plan, self._children, self._timeout = plan, children, timeout
        self._slots = Slots(visible_devices(), per_gpu)

    @property
    def room(self) -> int:
        """As many as the CPUs allow."""
        return default_jobs()

    def run(self, name: str, log: Callable[[str], object]) -> Outcome:
        """Run it here."""
        with self._slots.take() if self._plan.needs[name].gpu else nullcontext({}) as environment:
            force = name in self._plan.forced
            return run_stage(self._children, name, self._plan.digests[name], log, force, environment, self._timeout)


def open_place(
    runner: Runner, address: str | None, plan: Plan, children: Children, per_gpu: int, timeout: float | None
) -> AbstractContextManager[Place]:
    """The place that an operator chose.

    Raises:
        UserError: there is no such cluster, or nothing through which it could hand over data.
    """
    here = ThisMachine(plan, children, per_gpu, timeout)
    if runner == "local" or not plan.upstream:
        return nullcontext(here)
    from flows.cluster.driver import Cluster

    return Cluster(address, plan, children, per_gpu, timeout, here)

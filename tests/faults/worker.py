"""kill -9 of Prefect's worker while the flow that it started runs; another worker takes up what is scheduled next."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from random import Random

import psutil

from tests.faults.family import Family, kill
from tests.faults.result import Result
from tests.faults.world import Checkout, World, running_server, toy_world

_DEPLOYED = """\
from flows.training import training_flow

night = training_flow()
if __name__ == "__main__":
    night.from_source(".", "night.py:night").deploy("nightly", work_pool_name="night")
"""
_START = """\
from prefect.deployments import run_deployment
state = run_deployment("training/nightly", parameters={"jobs": 2, "wait": True}, poll_interval=0.5, timeout=300).state
print(f"{state.name}: {state.message}")
raise SystemExit(not state.is_completed())
"""
KILLS = 5


def provoke(world: World, random: Random, kills: int = KILLS) -> Iterator[Result]:
    """Kill the worker once in each of some runs."""
    toys = toy_world(world.folder / "toys-of-workers")
    with running_server(toys.folder / "home") as url:
        for _ in range(kills):
            yield _killed(toys, url, random)


def _killed(toys: World, url: str, random: Random) -> Result:
    checkout = Checkout(toys.fresh("worker").path, {"PREFECT_API_URL": url})
    for name, text in (("night.py", _DEPLOYED), ("start.py", _START)):
        (checkout.path / name).write_text(text)
    prepare = (("prefect", "work-pool", "create", "night", "--type", "process", "--overwrite"), ("night",))
    for command in prepare:
        if (ending := checkout.run(*command)).code:
            raise RuntimeError(ending.said)
    with _worker(checkout) as worker:
        waiting = checkout.start("start")
        flow = _wait_for_flow(worker)
        time.sleep(random.uniform(0, 0.5 * toys.seconds))
        family = Family(flow.pid)
        where = family.moment()
        kill([psutil.Process(worker.pid)])
        waiting.kill()
        waiting.wait()
    left = family.is_gone(0.2)
    with _worker(checkout):
        ending = checkout.run("start")
    came_to = f"NOT: {ending.in_words()}" if ending.code else checkout.state().compare(toys.undisturbed)
    return Result("kill -9 of the worker", where, "its flow ended with it" if left else "its flow went on", came_to)


@contextlib.contextmanager
def _worker(checkout: Checkout) -> Iterator["subprocess.Popen[bytes]"]:
    beside = Checkout(checkout.path, checkout.extra, "worker.log")
    worker = beside.start("prefect", "worker", "start", "--pool", "night", "--install-policy", "never")
    try:
        yield worker
    finally:
        worker.terminate()
        worker.wait()


def _wait_for_flow(worker: "subprocess.Popen[bytes]") -> psutil.Process:
    while True:
        for process in psutil.Process(worker.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if "prefect.engine" in " ".join(process.cmdline()) or "flow-run execute" in " ".join(process.cmdline()):
                    return process
        time.sleep(0.02)

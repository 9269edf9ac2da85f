"""In the flow: place every stage on a node of a Ray cluster by what it needs, and take in what it made.

The tasks that an operator sees are the same as without Ray, and nodes need no way to Prefect's server. Stages that
depend on nothing but params fetch from outside, keep what they have, and run here.
"""

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from components.checkout.packages import installed
from components.params import load_globals
from components.runtime.errors import UserError
from flows.cluster.handover import Finished, Task
from flows.running.children import Children, Stopped
from flows.running.graph import Plan, open_repo
from flows.running.lock_file import LOCK_FILE, read_entries
from flows.running.places import Place
from flows.running.stage import Outcome, ask

if TYPE_CHECKING:
    from ray import ObjectRefGenerator

_LEFT_OUT = [".git", "/.venv", "/.work", "/.prefect", "/.dvc/cache", "/.dvc/tmp", "/.dvc/config.local", "/artifacts"]
_WORKERS = {"RAY_kill_child_processes_on_worker_exit": "false"}
"""A stage's child ends its whole session when its worker is gone; Ray would kill the child alone before it could."""
_RESULTS = Path(".work/cluster")
_PATIENCE = 60.0
"""Seconds without a word after which the log says that a stage waits for room."""
_GIB = 1 << 30


class Cluster:
    """Runs the stages of a plan on a Ray cluster; leaving the block ends what still runs there."""

    def __init__(
        self,
        address: str | None,
        plan: Plan,
        children: Children,
        per_gpu: int,
        timeout: float | None,
        here: Place,
    ) -> None:
        self._address, self._plan, self._children, self._here = address, plan, children, here
        self._per_gpu, self._timeout = per_gpu, timeout
        self._threads = load_globals().threads
        self._project = hashlib.sha256(f"{socket.gethostname()}:{Path.cwd()}".encode()).hexdigest()[:12]
        self._entries = read_entries(LOCK_FILE)
        self._packages = installed()
        self._stopped = False

    def __enter__(self) -> "Cluster":
        """Connect, and give the remote what is up to date and will be read.

        Raises:
            UserError: no DVC remote, no such cluster, or the remote cannot be written.
        """
        _check_remote()
        self._connect()
        read = {up for name in self._plan.upstream for up in self._plan.inputs[name]} - {*self._plan.upstream}
        outcome = self._give(sorted(read), print) if read else Outcome("ran")
        if not outcome.is_well:
            raise UserError("dvc remote", outcome.detail, "mend it and run again")
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        self._stopped = True
        ray.shutdown()

    @property
    def room(self) -> int:
        """Stages that can run at once."""
        import ray

        return max(1, int(ray.cluster_resources().get("CPU", 1) // self._threads))

    def run(self, name: str, log: Callable[[str], object]) -> Outcome:
        """Run one stage on a node, a root here; its upstream stages must be done."""
        return self._run_here(name, log) if name in self._plan.roots else self._run_there(name, log)

    def _run_here(self, name: str, log: Callable[[str], object]) -> Outcome:
        outcome = self._here.run(name, log)
        if not outcome.is_well:
            return outcome
        self._entries[name] = read_entries(LOCK_FILE)[name]
        given = self._give([name], log)
        return outcome if given.is_well else given

    def _run_there(self, name: str, log: Callable[[str], object]) -> Outcome:
        finished = self._on_a_node(self._task(name), log)
        if not (finished.outcome.is_well and finished.result):
            return finished.outcome
        file = _RESULTS / f"{name}.json"
        finished.result.save(file)
        taken, _ = ask(self._children, "flows.cluster.adopting", ["take", name, str(file)], log)
        if not taken.is_well:
            return taken
        file.unlink()
        self._entries[name] = finished.result.entry
        outs = {out["path"]: out.get("md5") for out in finished.result.entry.get("outs", ())}
        return Outcome(finished.outcome.kind, changed=outs != self._plan.digests[name])

    def _task(self, name: str) -> Task:
        read = self._plan.inputs[name]
        return Task(
            name=name,
            project=self._project,
            entries={key: self._entries[key] for key in (name, *read) if key in self._entries},
            files={path: Path(path).read_text() for up in read for path in self._plan.uncached[up]},
            packages=self._packages,
            force=name in self._plan.forced,
            timeout=self._timeout,
        )

    def _on_a_node(self, task: Task, log: Callable[[str], object]) -> Finished:
        import ray
        from ray.exceptions import RayError, RayTaskError

        needs = self._plan.needs[task.name]
        wanted = {
            "num_cpus": self._threads,
            "num_gpus": 1 / self._per_gpu if needs.gpu and ray.cluster_resources().get("GPU") else 0,
            "memory": int(needs.memory_gib * _GIB),
        }
        try:
            return _follow(self._serve.options(name=task.name, **wanted).remote(task), log)
        except RayTaskError as error:  # what our own code raised there
            log(str(error))
            return Finished(Outcome("failed", f"on the node: {error.cause!r}"), None)
        except RayError as error:
            if self._stopped:
                raise Stopped from None
            return Finished(Outcome("fault", f"Ray: {str(error).splitlines()[0]}"), None)

    def _give(self, names: list[str], log: Callable[[str], object]) -> Outcome:
        return ask(self._children, "flows.cluster.adopting", ["give", *names], log)[0]

    def _connect(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to strangers
        import ray

        from flows.cluster.node import FOLDER, serve

        if not self._address:
            os.environ.setdefault(FOLDER, str(Path(".work/node").absolute()))
        environment = {"working_dir": str(Path.cwd()), "excludes": _LEFT_OUT, "env_vars": _WORKERS}
        try:
            ray.init(
                address=self._address or "local",
                runtime_env=environment,
                include_dashboard=None if self._address else False,
                log_to_driver=False,
                logging_level="ERROR",
            )
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            what = f"no Ray cluster answers at {self._address} ({str(error).splitlines()[0]})"
            raise UserError("--address", what, "start it with `ray start`, or leave --address out") from None
        self._serve = ray.remote(max_retries=0, num_returns="streaming")(serve)  # Prefect counts the attempts


def _follow(stream: "ObjectRefGenerator", log: Callable[[str], object]) -> Finished:
    """Log what the node says while it says it; returns its last word."""
    import ray

    heard = False
    while True:
        ready, _ = ray.wait([stream], timeout=_PATIENCE)
        if not ready:
            if not heard:
                log("waits for room on the cluster")
            continue
        item = ray.get(next(stream))
        if isinstance(item, Finished):
            return item
        heard = True
        log(item)


def _check_remote() -> None:
    with open_repo() as repo:
        if not repo.config["core"].get("remote"):
            what = "none is configured, and stages hand over their outputs through it"
            raise UserError(
                "dvc remote", what, "add one that all nodes reach: `dvc remote add -d NAME s3://BUCKET/PREFIX`"
            )

"""What the flow costs and saves: against `dvc repro` on the same work, on nothing, and per stage.

The same work is the checkout's own params.yaml, from nothing to a registered version: the flow on one side, `dvc repro`
and `python -m components.register` on the other. The flow's time includes its temporary Prefect server, which weighs
less in longer work: the second line trains four times as long.
"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.benchmarks.ratios import Ratio

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from conftest import make_checkout, must  # noqa: E402
from toy_project import ToyProject  # noqa: E402

ROUNDS, CHAINS = 2, 5
FLOW = (sys.executable, "-m", "flows.training", "--jobs", "2")
REPRO, REGISTER = ("dvc", "repro", "-q"), (sys.executable, "-m", "components.register")
MADE = ("artifacts", "dvc.lock", ".dvc/cache", ".dvc/tmp", "mlflow.db", "mlartifacts", ".work")


def seconds(cwd: Path, *commands: tuple[str, ...]) -> float:
    """Wall time of some commands, one after the other."""
    started = time.perf_counter()
    for command in commands:
        must(*command, cwd=cwd, timeout=1200)
    return time.perf_counter() - started


def from_nothing(checkout: Path, *commands: tuple[str, ...]) -> float:
    """The same, without anything that an earlier round left except Prefect's database."""
    for name in MADE:
        path = checkout / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return seconds(checkout, *commands)


def measure() -> list[Ratio]:
    """Ratio to `dvc repro`, the two ways of having nothing to do, and the cost per stage."""
    whole = YAML(typ="safe").load(ROOT / "params.yaml")
    keep = {name: whole[name] for name in ("variants", "train", "evaluate")}
    longer = keep | {"train": whole["train"] | {"epochs": 4 * whole["train"]["epochs"]}}
    with tempfile.TemporaryDirectory() as folder:
        lines = [against_repro(Path(folder) / "default", "params.yaml as it is", keep)]
        lines.append(against_repro(Path(folder) / "longer", "four times the epochs", longer))
        flow = Path(folder) / "default" / "flow"
        for name, command, bound in (("the flow", FLOW, 5.0), ("dvc repro", REPRO, 3.0)):
            rounds = tuple(seconds(flow, command) for _ in range(5))
            lines.append(Ratio(f"{name} with nothing to do", rounds, bound, at_least=False, unit=" s"))
        return [*lines, per_stage(Path(folder) / "toy")]


def against_repro(folder: Path, work: str, params: dict[str, Any]) -> Ratio:
    """Wall time of the flow over that of `dvc repro` and register."""
    flow, repro = (make_checkout(folder / name, **params) for name in ("flow", "repro"))
    from_nothing(flow, FLOW)  # Prefect makes its database once
    ratios = []
    for _ in range(ROUNDS):
        ours, theirs = from_nothing(flow, FLOW), from_nothing(repro, REPRO, REGISTER)
        print(f"       {work}: flow {ours:.1f} s, dvc repro and register {theirs:.1f} s", flush=True)
        ratios.append(ours / theirs)
    claim = f"flow at --jobs 2 against dvc repro and register, from nothing, {work}"
    return Ratio(claim, tuple(ratios), 0.7, at_least=False)


def per_stage(folder: Path) -> Ratio:
    """Wall seconds per stage of a graph of empty commands at --jobs 2, server and publishing left out."""
    from concurrent.futures import ThreadPoolExecutor

    from flows.running import children, graph, stage, walk

    folder.mkdir()
    toy = ToyProject(folder)
    toy.variants(*(f"v{number}" for number in range(CHAINS)))
    before = Path.cwd()
    os.chdir(folder)
    try:
        with graph.open_repo() as repo:
            plan = graph.read_plan(repo, refresh=False)
        started = time.perf_counter()
        with children.Children() as kids, ThreadPoolExecutor(2) as pool:
            walk.walk(
                plan.upstream,
                2,
                lambda name: pool.submit(stage.run_stage, kids, name, plan.digests[name], lambda _: None),
                lambda _, future: future.result().is_well,
            )
        elapsed = time.perf_counter() - started
    finally:
        os.chdir(before)
    return Ratio(
        f"wall time per empty stage at --jobs 2 ({len(plan.upstream)} stages)",
        (elapsed / len(plan.upstream),),
        1.5,
        at_least=False,
        unit=" s",
    )

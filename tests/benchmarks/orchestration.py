"""What the flow costs and saves: against `dvc repro` on the same work, on nothing, and per stage.

The same work is the checkout's own params.yaml, from nothing to a registered version: the flow on one side, `dvc repro`
and `python -m components.register` on the other. The flow's time includes its temporary Prefect server, which weighs
less in longer work: the second line trains four times as long.
"""

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

ROUNDS, CHAINS = 2, 24
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
    """Wall seconds per stage that the whole flow adds to the bare commands, at --jobs 2 and about 50 stages."""
    from concurrent.futures import ThreadPoolExecutor

    folder.mkdir()
    toy = ToyProject(folder)
    toy.variants(*(f"v{number}" for number in range(CHAINS)))
    count = 3 + 2 * CHAINS
    bare_commands = [["python", "step.py", f"train@v{number}", "bare/data"] for number in range(count)]
    started = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda command: must(*command, cwd=folder), bare_commands))
    bare = time.perf_counter() - started
    flow = seconds(folder, FLOW)
    print(f"       {count} empty stages: flow {flow:.1f} s, bare commands {bare:.1f} s", flush=True)
    claim = f"wall time that the flow adds per stage at --jobs 2 ({count} stages, server and publishing included)"
    return Ratio(claim, ((flow - bare) / count,), 1.5, at_least=False, unit=" s")

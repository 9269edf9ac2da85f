"""How the cost of a stage, of planning and of the flow's memory grows with the graph: up to 1,000 stages.

Stages are empty commands with short entries in dvc.lock. The lock file is filled as a finished run leaves it, and a few
stages at its end run as the flow runs them, two at once; all 1,000 would cost the same each.
"""

import contextlib
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flows.running.children import Children
from flows.running.lock_file import read_blocks, write_blocks
from flows.running.stage import run_stage
from tests.benchmarks.ratios import Ratio

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import must
from toy_project import ToyProject

SIZES = (51, 201, 501, 1001)
SAMPLE = 10
PLAN = """
import resource, time
from flows.running.graph import open_repo, read_plan
started = time.perf_counter()
with open_repo() as repo:
    plan = read_plan(repo, refresh=False)
seconds = time.perf_counter() - started
print(len(plan.upstream), seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def measure() -> list[Ratio]:
    """A line of the curve for each size, then the two bounds."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [row(Path(folder) / str(size), size) for size in SIZES]
    return [
        Ratio("wall time per empty stage of 51 at --jobs 2", (rows[0][0],), 1.5, at_least=False, unit=" s"),
        Ratio("memory of the flow's plan of 1,001 stages", (rows[-1][2],), 1024, at_least=False, unit=" MiB"),
    ]


def row(folder: Path, size: int) -> tuple[float, float, float]:
    """Seconds per stage, seconds to plan, MiB of the process that plans."""
    chains = (size - 3) // 2
    folder.mkdir()
    ToyProject(folder).variants(*(f"v{number}" for number in range(chains)))
    with contextlib.chdir(folder), Children() as children, ThreadPoolExecutor(2) as pool:

        def run(name: str) -> None:
            assert run_stage(children, name, {}, lambda _: None).is_well

        for name in ("ingest", "prepare", "train@v0", "judge@v0"):
            run(name)
        fill(folder, chains)
        started = time.perf_counter()
        list(pool.map(run, [f"train@v{chains - 1 - number}" for number in range(SAMPLE)]))
        per_stage = (time.perf_counter() - started) / SAMPLE
    left, seconds, memory = map(float, must(sys.executable, "-c", PLAN, cwd=folder).split())
    assert left == SAMPLE + 1, "the chains of the sample have a stage left, and compare"
    print(f"       {size} stages: {per_stage:.2f} s a stage, {seconds:.1f} s to plan, {memory:.0f} MiB", flush=True)
    return per_stage, seconds, memory


def fill(folder: Path, chains: int) -> None:
    """Make all chains but the sample look finished: outputs and entries are those of the first."""
    lock = folder / "dvc.lock"
    blocks = read_blocks(lock)
    for number in range(1, chains - SAMPLE):
        for stage in ("train", "judge"):
            shutil.copytree(folder / f"artifacts/{stage}/v0", folder / f"artifacts/{stage}/v{number}")
            blocks[f"{stage}@v{number}"] = blocks[f"{stage}@v0"].replace("v0", f"v{number}")
    write_blocks(lock, blocks.values())

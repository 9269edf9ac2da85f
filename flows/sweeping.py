"""Sweep one key of params.yaml: every value is a DVC experiment of its own, and validation alone judges it.

In:  the commit that is checked out, with all that `train@V` needs up to date.
Out: .work/sweeps/NAME/ — table.csv, plot.svg, logs/POINT.log; the experiments NAME-VALUE, which `dvc exp show` lists.
    python -m flows.sweeping NAME --variant V --over KEY=VALUE,VALUE,… [--jobs N] [--timeout SECONDS] [--per-gpu N]
e.g. python -m flows.sweeping bottleneck --variant vanilla --over latent_dim=4,8,16,32
Points stop at `train@V`: test is opened for the one that is adopted, by `dvc exp apply` and the training flow.
Exit code 0: every point is in the table. 2: nothing began, for a reason told in a line `error: …`. 1: points failed,
the others are in the table. What is done stays done: running again takes it from DVC's run cache.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from components.checkout.lock import one_flow
from components.runtime.errors import run_main
from components.runtime.outputs import WORK
from flows.running import tasks
from flows.running.children import Children, leave_on_sigterm
from flows.running.experiments import Point, Sweep, check_checkout, plan_sweep, results, stash
from flows.running.graph import open_repo
from flows.running.options import parser
from flows.running.server import check_lasting_server, run_flow, start_temporary_server
from flows.running.slots import Slots, default_jobs, visible_devices
from flows.running.stage import Outcome, run_point
from flows.running.walk import walk

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State
    from prefect.futures import PrefectFuture


def sweep(planned: Sweep, on_gpu: bool, jobs: int, timeout: float | None, per_gpu: int) -> "State":
    """Run every value of one key as a DVC experiment, side by side, and compare them on validation.

    Args:
        planned: the points.
        on_gpu: whether each needs a GPU, where there are any.
        jobs: points that run at once.
        timeout: seconds that one point may take.
        per_gpu: points that share one GPU.
    """
    folder = WORK / "sweeps" / planned.name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "logs").mkdir(parents=True)
    with Children() as children:
        with open_repo() as repo:
            stash(repo, planned)
        slots = Slots(visible_devices() if on_gpu else [], per_gpu)
        failed = run_points(planned, children, jobs, timeout, slots, folder / "logs")
    with open_repo() as repo:
        found = results(repo, planned)
    report(planned, found, folder)
    if failed:
        return tasks.failed_points(failed)
    return tasks.done(f"all {len(planned.points)} points are in {folder}/table.csv")


def run_points(
    planned: Sweep, children: Children, jobs: int, timeout: float | None, slots: Slots, logs: Path
) -> "dict[str, State]":
    """One task per point; returns the states of those that failed, each with its log in `logs`."""
    points = {point.name: point for point in planned.points}
    failed: dict[str, State] = {}

    def act(point: Point, log: tasks.Log) -> Outcome:
        with (logs / f"{point.name}.log").open("w") as file, slots.take() as environment:

            def both(line: str) -> None:
                print(line, file=file, flush=True)
                log(line)

            return run_point(children, point.stash, both, environment, timeout)

    def submit(name: str) -> "PrefectFuture[State]":
        return tasks.submit(name, lambda log: act(points[name], log), retries=0)

    def went_well(name: str, future: "PrefectFuture[State]") -> bool:
        if not (state := tasks.final_state(future)).is_completed():
            failed[name] = state
        return state.is_completed()

    walk(dict.fromkeys(points, ()), jobs, submit, went_well)
    return failed


def report(planned: Sweep, found: dict[str, dict[str, float]], folder: Path) -> None:
    """Write the table and the picture, print the table, and say how the winner is adopted."""
    from components.reporting import sweeping  # matplotlib takes a second to import
    from components.reporting.plots import save

    rows = [sweeping.Row(point.name, point.value, found.get(point.name)) for point in planned.points]
    sweeping.write_table(rows, planned.key, folder / "table.csv")
    sweeping.print_table(rows, planned.key)
    if winner := sweeping.best(rows):
        save(sweeping.errors_over(rows, planned.key, planned.variant), folder / "plot.svg")
        rule = "smallest squared error against PCA at the same code size, on validation"
        print(f"winner: {winner.experiment}, of {len(found)} points ({rule})")
        print(f"adopt it, and open test for it alone: dvc exp apply {winner.experiment} && python -m flows.training")
    print(f"results: {folder}; the same numbers: dvc exp show --only-changed", flush=True)


def main() -> None:
    """Check everything first: a mistake must not cost the start of a server, let alone a training."""
    command_line = parser("flows.sweeping", sweep)
    add = command_line.add_argument
    add("name", help="of the sweep; its experiments are NAME-VALUE")
    add("--variant", required=True, metavar="V", help="what is trained with each value")
    add("--over", required=True, metavar="KEY=VALUES", help="key of the variant, or any of params.yaml with its dots")
    options = command_line.parse_args()
    leave_on_sigterm()
    with one_flow(options.wait):
        planned = plan_sweep(options.name, options.variant, options.over)
        with open_repo() as repo:
            on_gpu = check_checkout(repo, planned)
        if "PREFECT_API_URL" in os.environ:
            check_lasting_server()
        else:
            start_temporary_server()
        from prefect import flow

        run = flow(sweep, name="sweeping", persist_result=False, validate_parameters=False)
        jobs = options.jobs or default_jobs()
        state = run_flow(run, planned, on_gpu, jobs, options.timeout, options.per_gpu)
    if not state.is_completed():
        print(state.message, file=sys.stderr)
    raise SystemExit(tasks.exit_code(state))


if __name__ == "__main__":
    run_main(main)

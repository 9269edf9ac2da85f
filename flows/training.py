"""Train, judge and publish whatever is stale: DVC says what and after what, Prefect when and where.

In: dvc.yaml, params.yaml, dvc.lock. Out: artifacts/, dvc.lock, a version in the registry.
    python -m flows.training [--jobs N] [--refresh] [--retries N] [--timeout SECONDS] [--per-gpu N] [--wait]
                             [--runner ray [--address ADDRESS]]
Exit code 0: everything is up to date and published. 2: something the user can mend, told in a line `error: …`.
1: a fault of ours or of the machine. What is done stays done: running again continues.
"""

import os
import sys
from typing import TYPE_CHECKING, get_args

from components.checkout.lock import one_flow
from components.publishing.key import is_published, published
from components.runtime.errors import UserError, as_user_error, run_main
from flows.running import tasks
from flows.running.artifacts import show_results
from flows.running.children import Children, leave_on_sigterm
from flows.running.graph import Plan, open_repo, read_plan
from flows.running.options import Count, Least1, Seconds, parser, whole
from flows.running.places import Place, Runner, open_place
from flows.running.prune import prune, tidy_lock_file
from flows.running.server import check_lasting_server, run_flow, start_temporary_server
from flows.running.stage import Outcome, run_module
from flows.running.validation import checking_params
from flows.running.walk import walk

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import State
    from prefect.futures import PrefectFuture

PUBLISH = "components.register"
PROMOTED = "Promoted"
"""Name of the state of a flow that made a version champion, for automations to listen to."""


def make_plan(refresh: bool) -> Plan:
    """Check params, remove what they no longer name, and ask DVC once what is stale."""
    with checking_params() as finish_check, open_repo() as repo:
        _ = repo.index  # DVC reads its graph while params are being checked
        finish_check()
        for name in prune(repo):
            print(f"removed {name}: params.yaml no longer names it", flush=True)
        return read_plan(repo, refresh)


def run_stages(plan: Plan, place: Place, jobs: int, retries: int) -> "dict[str, State]":
    """One task per stage of the plan; returns the states of those that failed."""
    futures: dict[str, PrefectFuture[State]] = {}
    ended: dict[str, State] = {}

    def submit(name: str) -> "PrefectFuture[State]":
        upstream = plan.upstream[name]
        # visited only because of its upstream, which came out as it was: DVC need not be asked again
        idle = name not in {*plan.stale, *plan.forced} and all(ended[up].name == tasks.UNCHANGED for up in upstream)

        def act(log: tasks.Log) -> Outcome:
            if idle:
                return Outcome("unchanged", "what it depends on came out the same")
            return place.run(name, log)

        futures[name] = tasks.submit(name, act, retries, after=[futures[up] for up in upstream])
        return futures[name]

    def went_well(name: str, future: "PrefectFuture[State]") -> bool:
        ended[name] = tasks.final_state(future)
        return ended[name].is_completed()

    walk(plan.upstream, jobs, submit, went_well)
    return {name: state for name, state in ended.items() if not state.is_completed()}


def train(
    jobs: Count = 0,
    refresh: bool = False,
    retries: Count = 1,
    timeout: Seconds | None = None,
    per_gpu: Least1 = 1,
    wait: bool = False,
    runner: Runner = "local",
    address: str | None = None,
) -> "State":
    """Run the stages that are stale or downstream of one, side by side, and publish what they made.

    Args:
        jobs: stages that run at once; 0 is as many as the CPUs allow with params.yaml's `threads` for each.
        refresh: also run the stages that fetch data, because DVC cannot see whether their source has changed.
        retries: further attempts after a fault of the machine: a child that was killed, DVC's locks, caches, remotes.
        timeout: seconds that one stage may take.
        per_gpu: stages that share one GPU.
        wait: wait for another flow in this checkout instead of giving up.
        runner: ray places stages on the nodes of a Ray cluster; data goes through DVC's default remote.
        address: of that cluster, e.g. auto or HOST:PORT; without one a cluster is started on this machine.
    """
    if newer := tasks.newer_slot():
        return tasks.dropped(newer)
    try:
        with one_flow(wait), Children() as children:
            plan = make_plan(refresh)
            tasks.log(plan.in_words())
            with open_place(runner, address, plan, children, per_gpu, timeout) as place:
                failed = run_stages(plan, place, jobs or place.room, retries)
            with open_repo() as repo:
                tidy_lock_file(repo)  # whatever finished first, the file has one order
            if failed:
                return tasks.failed_flow(failed, not_run=[*plan.downstream(set(failed)), PUBLISH])
            show_results()
            is_new_champion = False
            if not is_published():
                publishing = tasks.submit(PUBLISH, lambda log: run_module(children, PUBLISH, log, timeout), retries)
                if not (state := tasks.final_state(publishing)).is_completed():
                    return tasks.failed_flow({PUBLISH: state}, not_run=[])
                is_new_champion = published().get("promoted", False)  # none where a version waits for its turn
            champion = published().get("told", "see MLflow")  # a note of an earlier release says less
            told = f"every stage is up to date, and what they made is published; champion: {champion}"
            return tasks.done(told, PROMOTED if is_new_champion else None)
    except UserError as error:
        return tasks.refused(error)
    except Exception as error:
        if mended := as_user_error(error):
            return tasks.refused(mended)
        raise


def training_flow() -> "Flow[..., State]":
    """`train` as Prefect's flow, for the command line and for deployments."""
    from prefect import flow

    return flow(train, name="training", persist_result=False)


def main() -> None:
    """Look first: without anything to do, and without a server that keeps a record of it, Prefect is not needed."""
    command_line = parser("flows.training", train)
    add = command_line.add_argument
    add("--refresh", action="store_true", help="fetch the data again, even if nothing seems to have changed")
    add("--retries", type=whole(0), default=1, metavar="N", help="further attempts after a fault of the machine (1)")
    add("--runner", choices=get_args(Runner), default="local", help="where stages run (local)")
    add("--address", metavar="ADDRESS", help="of a Ray cluster, e.g. auto or HOST:PORT (one on this machine)")
    options = vars(command_line.parse_args())
    leave_on_sigterm()
    with one_flow(options["wait"]):
        plan = make_plan(options["refresh"])
    if "PREFECT_API_URL" in os.environ:
        check_lasting_server()
    elif plan.upstream or not is_published():
        start_temporary_server()
    else:
        print("nothing to do: every stage is up to date, and what they made is published")
        return
    state = run_flow(training_flow(), **options)
    if not state.is_completed():
        print(state.message, file=sys.stderr)
    raise SystemExit(tasks.exit_code(state))


if __name__ == "__main__":
    run_main(main)

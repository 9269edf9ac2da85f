"""The edge to Prefect: children become tasks, outcomes become states.

Prefect takes 2 s to import, and a flow that finds nothing to do needs none of it: it is imported in functions.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from components.runtime.errors import EXIT_INCOMPLETE, EXIT_USER_ERROR, UserError
from flows.running.children import Stopped
from flows.running.stage import Outcome

if TYPE_CHECKING:
    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.futures import PrefectFuture

UNCHANGED = "Unchanged"
INCOMPLETE = "Incomplete"
USER_ERROR = "UserError"
FAULT = "Fault"
RETRY_SECONDS = 5
Log = Callable[[str], object]


def submit(
    name: str,
    act: Callable[[Log], Outcome],
    retries: int,
    after: "Iterable[PrefectFuture[State]]" = (),
) -> "PrefectFuture[State]":
    """Submit one child as the task `name`; `act` gets the task's log, `after` draws the edges in Prefect's UI."""
    from prefect import get_run_logger, task
    from prefect.cache_policies import NO_CACHE

    def run() -> "State":
        return as_state(lambda: act(get_run_logger().info))

    logging.getLogger("prefect.task_runs").addFilter(_without_empty_traceback)
    return task(
        run,
        name=name,
        task_run_name=name,
        retries=retries,
        retry_delay_seconds=RETRY_SECONDS,
        retry_condition_fn=_may_retry,
        cache_policy=NO_CACHE,
        persist_result=False,
    ).submit(wait_for=list(after))


def as_state(act: Callable[[], Outcome]) -> "State":
    """The state that an outcome stands for; its name tells operators, and retries, what kind of failure it is."""
    from prefect.states import Cancelled, Completed, Failed

    try:
        outcome = act()
    except Stopped:
        return Cancelled(message="ended with the flow")
    if outcome.kind == "incomplete":
        return Completed(name=INCOMPLETE, message=outcome.detail)
    if outcome.is_well:
        return (
            Completed(message=outcome.detail) if outcome.changed else Completed(name=UNCHANGED, message=outcome.detail)
        )
    name = {"user_error": USER_ERROR, "fault": FAULT, "timed_out": "TimedOut"}.get(outcome.kind)
    return Failed(name=name, message=outcome.detail)


def log(line: str) -> None:
    """A line in the log of the flow."""
    from prefect import get_run_logger

    get_run_logger().info(line)


def final_state(future: "PrefectFuture[State]") -> "State":
    """The state of a task that is done."""
    future.wait()
    return future.state


def done(message: str, name: str | None = None) -> "State":
    """The state of a flow that did all it was asked to; a name of its own is for automations to listen to."""
    from prefect.states import Completed

    return Completed(name=name, message=message)


def newer_slot() -> datetime | None:
    """When this run's schedule was due again, if it was; None for a run that nobody scheduled, too.

    Prefect keeps every slot that passed while no worker was there, or while a run took too long, and its
    `CANCEL_NEW` would run the oldest of them; it would also cancel what an alarm asks for during a run. `ENQUEUE` loses
    nothing and runs all, in any order, so a slot must look for newer ones whatever has become of them.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
    from prefect.client.schemas.sorting import FlowRunSort
    from prefect.context import get_run_context

    run = get_run_context().flow_run
    if not run.auto_scheduled:
        return None
    due = {"after_": run.expected_start_time, "before_": datetime.now(UTC)}
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(
            deployment_filter=DeploymentFilter(id={"any_": [run.deployment_id]}),
            flow_run_filter=FlowRunFilter(expected_start_time=due, id={"not_any_": [run.id]}),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        )
    return next((other.expected_start_time for other in found if other.auto_scheduled), None)


def dropped(newer: datetime) -> "State":
    """The state of a run that leaves its work to a newer one; well, or Prefect would print a traceback."""
    return done(f"the slot of {newer:%Y-%m-%d %H:%M} UTC is newer and does the work", "Dropped")


def start_deployment(name: str, parameters: dict[str, Any], key: str) -> str:
    """Have a deployment run, without waiting for it; the same key starts it once. Returns what was started, in words.

    Raises:
        UserError: there is no such deployment.
    """
    from prefect.deployments import run_deployment
    from prefect.exceptions import ObjectNotFound

    try:
        started = run_deployment(name, parameters=parameters, timeout=0, idempotency_key=key, as_subflow=False)
    except (ObjectNotFound, ValueError) as error:
        raise UserError("--deployment", f"'{name}' cannot be run ({error})", "run `prefect deployment ls`") from None
    return f"started {name} as '{started.name}'"


def refused(error: UserError) -> "State":
    """The state of a flow that could not begin."""
    from prefect.states import Failed

    return Failed(name=USER_ERROR, message=f"error: {error}")


def failed_flow(failed: "dict[str, State]", not_run: Iterable[str]) -> "State":
    """The state of a flow in which tasks failed: who is concerned, then what to mend."""
    from prefect.states import Failed

    concerned = f"failed: {', '.join(failed)}; not run: {', '.join(not_run) or 'nothing else'}"
    lines = dict.fromkeys(
        state.message if state.name == USER_ERROR else f"{name}: {state.message}" for name, state in failed.items()
    )
    only_users = all(state.name == USER_ERROR for state in failed.values())
    return Failed(name=USER_ERROR if only_users else None, message="\n".join([concerned, *lines]))


def failed_points(failed: "dict[str, State]") -> "State":
    """The state of a sweep in which points failed: a fault of theirs, whoever can mend it, for the others are done."""
    from prefect.states import Failed

    reasons = [f"{name}: {state.message}" for name, state in failed.items()]
    return Failed(message="\n".join([f"failed: {', '.join(failed)}", *reasons]))


def exit_code(state: "State") -> int:
    """The exit code of a flow that ended in `state`."""
    if state.is_completed():
        return EXIT_INCOMPLETE if state.name == INCOMPLETE else 0
    return EXIT_USER_ERROR if state.name == USER_ERROR else 1


def _may_retry(_task: "Task[..., State]", _run: "TaskRun", state: "State") -> bool:
    return getattr(state.data, "name", None) == FAULT  # Prefect wraps the state that the task returned


def _without_empty_traceback(record: logging.LogRecord) -> bool:
    """Prefect asks for a traceback where a task returned a failed state, and would print `NoneType: None`."""
    if record.exc_info == (None, None, None):
        record.exc_info = None
    return True

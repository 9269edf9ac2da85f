"""Let go of what nothing needs any more, as a deployment: `python -m components.retain` under a lasting server.

A person types that command itself; this flow is for schedules, which need a log and a state.
"""

from typing import TYPE_CHECKING

from flows.running import tasks
from flows.running.children import Children
from flows.running.options import Seconds
from flows.running.stage import run_module

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import State

RETAIN = "components.retain"


def retain(apply: bool = False, timeout: Seconds | None = None) -> "State":
    """List what may go by the section `retain:` of params.yaml.

    Args:
        apply: remove it as well.
        timeout: seconds that it may take.
    """
    arguments = ["--wait", *(["--apply"] * apply)]  # for a training that runs
    with Children() as children:
        state = tasks.final_state(
            tasks.submit(RETAIN, lambda log: run_module(children, RETAIN, log, timeout, arguments), retries=0)
        )
    return tasks.done("done") if state.is_completed() else tasks.failed_flow({RETAIN: state}, not_run=[])


def retention_flow() -> "Flow[..., State]":
    """`retain` as Prefect's flow."""
    from prefect import flow

    return flow(retain, name="retention", persist_result=False)

"""Look at newly scored records, and have the model trained anew when they are no longer what it was calibrated on.

In:  a folder of scored parts; .monitoring/. Out: .monitoring/ (components.drift says what), a run in MLflow, artifacts
     in Prefect's UI; the alias `champion`, where versions in shadow decided (components.register --settle says how);
     on an alarm of a champion that stays, a run of the deployment that retrains.
    python -m flows.monitoring SCORED [--rows FOLDER] [--version N] [--deployment FLOW/NAME] [--timeout SECONDS]
Exit code 0: the records were looked at, with an alarm or without. 2: something the user can mend, told in a line
`error: …`. 1: a fault of ours or of the machine. Parts that were not looked at are the next run's.
"""

import argparse
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.drifting.retraining import answer
from components.runtime.errors import UserError, run_main
from flows.running import tasks
from flows.running.artifacts import show_look
from flows.running.children import Children, leave_on_sigterm
from flows.running.options import Seconds, whole
from flows.running.server import check_lasting_server, run_flow, start_temporary_server
from flows.running.stage import run_module

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import State

DRIFT, REGISTER = "components.drift", "components.register"
LATEST = Path(".monitoring/latest.json")
SETTLED = Path(".monitoring/settled.json")
ANSWERS = Path(".monitoring/retrainings.json")
ALARM = "Alarm"
"""Name of the state of a flow that found one, for automations to listen to."""


def monitor(
    scored: str,
    rows: str | None = None,
    version: str | None = None,
    deployment: str | None = None,
    timeout: Seconds | None = None,
) -> "State":
    """Look at what was scored since the last look, move what versions in shadow decided, and retrain on a new alarm.

    Args:
        scored: folder of scored parts.
        rows: folder of the raw rows of a table behind them.
        version: of the registered model; the champion where it is None.
        deployment: FLOW/NAME of the training to run on an alarm; None only tells.
        timeout: seconds that the look may take.
    """
    options = {"--rows": rows, "--version": version}
    arguments = [scored, *(part for name, value in options.items() if value for part in (name, value))]
    try:
        with Children() as children:
            looking = tasks.submit(DRIFT, lambda log: run_module(children, DRIFT, log, timeout, arguments), retries=1)
            if not (state := tasks.final_state(looking)).is_completed():
                return tasks.failed_flow({DRIFT: state}, not_run=[REGISTER])
            look = json.loads(LATEST.read_text())
            show_look(look)
            settle = ["--settle", scored]
            settling = tasks.submit(REGISTER, lambda log: run_module(children, REGISTER, log, timeout, settle), 1)
            if not (state := tasks.final_state(settling)).is_completed():
                return tasks.failed_flow({REGISTER: state}, not_run=[])
        champion = json.loads(SETTLED.read_text())["champion"]
        if version is None and champion != look["version"]:
            told = f"version {champion} is champion now, instead of version {look['version']} that was looked at"
            return tasks.done(told, ALARM if look["alarms"] else None)
        return _respond(look, deployment)
    except UserError as error:
        return tasks.refused(error)


def _respond(look: dict[str, Any], deployment: str | None) -> "State":
    if look["alarms"] and deployment is None:
        told = f"{', '.join(look['alarms'])}: no --deployment to retrain with; run `python -m flows.training --refresh`"
        return tasks.done(told, ALARM)
    done = answer(
        look["alarms"],
        f"{look['name']}/{look['version']}",
        datetime.now(UTC),
        timedelta(hours=look["cool_down_hours"]),
        lambda key: tasks.start_deployment(str(deployment), {"refresh": True}, key),
        ANSWERS,
    )
    return tasks.done(done.text, ALARM if look["alarms"] else None)


def monitoring_flow() -> "Flow[..., State]":
    """`monitor` as Prefect's flow, for the command line and for deployments."""
    from prefect import flow

    return flow(monitor, name="monitoring", persist_result=False)


def main() -> None:
    """Run the flow once."""
    command_line = argparse.ArgumentParser(
        prog="python -m flows.monitoring", description=monitor.__doc__.partition("\n")[0]
    )
    add = command_line.add_argument
    add("scored", help="folder of scored parts")
    add("--rows", metavar="FOLDER", help="raw rows of a table behind them")
    add("--version", metavar="N", help="of the registered model (its champion)")
    add("--deployment", metavar="FLOW/NAME", help="training to run on an alarm (none: only tell)")
    add("--timeout", type=whole(1), metavar="SECONDS", help="limit for the look (none)")
    options = vars(command_line.parse_args())
    leave_on_sigterm()
    if "PREFECT_API_URL" in os.environ:
        check_lasting_server()
    elif options["deployment"]:
        fix = "set it, or leave --deployment out"
        raise UserError("PREFECT_API_URL", "is not set, and a deployment lives on a lasting server", fix)
    else:
        start_temporary_server()
    state = run_flow(monitoring_flow(), **options)
    print(state.message, file=sys.stdout if state.is_completed() else sys.stderr)
    raise SystemExit(tasks.exit_code(state))


if __name__ == "__main__":
    run_main(main)

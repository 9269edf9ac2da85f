"""Score a batch by a registered version: Prefect says when, tries again what the machine broke, and keeps the log.

In: records as they came, the registry. Out: scores/SOURCE-NAME-NUMBER/, a run in MLflow (see components/score.py).
    python -m flows.scoring SOURCE [--model NAME@ALIAS] [--fdr Q] [--out FOLDER] [--jobs N] [--skip-limit N]
                            [--id COLUMN] [--dvc] [--retries N] [--timeout SECONDS]
Exit code 0: all is scored. 3: all but what --skip-limit let it leave out. 2: something to mend, in one line.
1: a fault of ours or of the machine. What is done stays done: running again continues.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from components.bulk.options import Request, add_options, as_arguments
from components.runtime.errors import run_main
from flows.running import tasks
from flows.running.children import Children, leave_on_sigterm
from flows.running.options import Count, Seconds, whole
from flows.running.server import check_lasting_server, run_flow, start_temporary_server
from flows.running.stage import run_module

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import State

SCORE = "components.score"


def score(
    source: str,
    model: str | None = None,
    out: Path | None = None,
    fdr: float | None = None,
    id: str | None = None,  # noqa: A002 - the option's name
    jobs: Count = 0,
    skip_limit: Count = 0,
    dvc: bool = False,
    with_codes: bool = False,
    codes: bool = False,
    neighbours: Count = 0,
    retries: Count = 1,
    timeout: Seconds | None = None,
) -> "State":
    """Score a batch in a child that leads its own processes.

    Args:
        source: a file, a folder, or s3://BUCKET/PREFIX.
        model: NAME@ALIAS or NAME/NUMBER; None is the champion of register.name.
        out: folder of the answer; None is scores/SOURCE-NAME-NUMBER.
        fdr: report records of which at most this share is normal, on average.
        id: column of a table that names its rows.
        jobs: processes; 0 is as many as the CPUs allow.
        skip_limit: unreadable parts that may be left out.
        dvc: version the answer with DVC.
        with_codes: also a column with the code of each record, which monitoring looks at.
        codes: codes instead of scores.
        neighbours: so many nearest training records of each instead of scores.
        retries: further attempts after a fault of the machine; each goes on where the last one was ended.
        timeout: seconds that one attempt may take.
    """
    arguments = as_arguments(Request(source, model, out, fdr, id, jobs, skip_limit, dvc, with_codes, codes, neighbours))
    with Children() as children:
        scoring = tasks.submit(SCORE, lambda log: run_module(children, SCORE, log, timeout, arguments), retries)
        state = tasks.final_state(scoring)
    if not state.is_completed():
        return tasks.failed_flow({SCORE: state}, not_run=[])
    if state.name == tasks.INCOMPLETE:
        return tasks.done(state.message, tasks.INCOMPLETE)
    return tasks.done("every record is scored")


def scoring_flow() -> "Flow[..., State]":
    """`score` as Prefect's flow, for the command line and for deployments."""
    from prefect import flow

    return flow(score, name="scoring", persist_result=False)


def main() -> None:
    """Run the flow under a lasting server, or under one of its own."""
    command_line = argparse.ArgumentParser(prog="python -m flows.scoring", description=score.__doc__.partition("\n")[0])
    add_options(command_line)
    add = command_line.add_argument
    add("--retries", type=whole(0), default=1, metavar="N", help="further attempts after a fault of the machine (1)")
    add("--timeout", type=whole(1), metavar="SECONDS", help="limit for one of them (none)")
    options = vars(command_line.parse_args())
    leave_on_sigterm()
    if "PREFECT_API_URL" in os.environ:
        check_lasting_server()
    else:
        start_temporary_server()
    state = run_flow(scoring_flow(), **options)
    if not state.is_completed():
        print(state.message, file=sys.stderr)
    raise SystemExit(tasks.exit_code(state))


if __name__ == "__main__":
    run_main(main)

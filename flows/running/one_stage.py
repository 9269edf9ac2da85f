"""Run one stage as `dvc --wait-for-lock repro -q --single-item STAGE` does, and tell the flow what came of it.

A process of its own like `dvc`, without the half of its start-up that only the command line needs. `stage.py` starts it
as `python -m flows.running.one_stage STAGE ANSWER [--force]`; ANSWER is the number of an open file descriptor, for one
line of JSON. What the stage prints goes to standard output.
"""

import json
import logging
import os
import signal
import sys
import traceback
from typing import Any

from components.runtime.errors import EXIT_USER_ERROR, as_user_error
from flows.running.children import end_with_flow
from flows.running.graph import causes, in_one_line


def main() -> None:
    """Run the stage, then answer."""
    end_with_flow()
    # SIGTERM goes to the whole session: the command ends, DVC notices, gives its locks back and comes to its own end
    signal.signal(signal.SIGTERM, lambda *_: None)
    name, answer, force = sys.argv[1], int(sys.argv[2]), "--force" in sys.argv[3:]
    os.set_inheritable(answer, False)  # the command must not hold it
    outcome = reproduce(name, force)
    with os.fdopen(answer, "w") as file:
        json.dump(outcome, file)


def reproduce(name: str, force: bool) -> dict[str, Any]:
    """What `run_stage` in stage.py reads: a kind, and the outputs' digests or what went wrong."""
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.ERROR)
    logging.getLogger("dvc.stage.cache").setLevel(logging.INFO)  # "is cached - skipping run" is news to an operator
    try:
        with Repo(".", _wait_for_lock=True) as repo:
            done = repo.reproduce(name, single_item=True, force=force)
            outs = {str(out): out.hash_info.value for stage in done for out in stage.outs}
            return {"kind": "ran" if done else "unchanged", "outs": outs}
    except Exception as error:  # noqa: BLE001 - every way to fail is sorted here, and nowhere else
        return _sort(error)


def _sort(error: Exception) -> dict[str, Any]:
    """The kind of a failure: the user's, the machine's, or ours."""
    from dvc.exceptions import CacheLinkError, CheckoutError, DvcException, FileTransferError
    from dvc.lock import LockError
    from dvc.stage.exceptions import StageCmdFailedError

    chain = list(causes(error))
    for cause in chain:
        if isinstance(cause, StageCmdFailedError):
            return _sort_status(int(str(cause).rpartition(" ")[2]))
    for cause in chain:
        if isinstance(cause, OSError) and (mended := as_user_error(cause)):
            return {"kind": "user_error", "detail": f"error: {mended}"}
        if isinstance(cause, (LockError, CacheLinkError, CheckoutError, FileTransferError, OSError)):
            return {"kind": "fault", "detail": f"DVC: {cause}"}
    if not any(isinstance(cause, DvcException) for cause in chain):
        traceback.print_exception(error)
    return {"kind": "failed", "detail": f"DVC: {in_one_line(error)}"}


def _sort_status(status: int) -> dict[str, Any]:
    if status == EXIT_USER_ERROR:
        return {"kind": "user_error"}
    number = -status if status < 0 else status - 128  # a shell between us and the command says 128 + signal
    if 0 < number < signal.NSIG:
        return {"kind": "fault", "detail": f"killed by {signal.Signals(number).name}"}
    return {"kind": "failed", "detail": f"exit code {status}"}


if __name__ == "__main__":
    main()

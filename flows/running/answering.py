"""A child that lets DVC work in a process of its own, and tells the flow in one line of JSON what came of it.

A process like `dvc`, without the half of its start-up that only the command line needs. `stage.py` starts it as
`python -m MODULE ANSWER …`; ANSWER is the number of an open file descriptor. What DVC's commands print goes to
standard output.
"""

import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from components.runtime.errors import EXIT_USER_ERROR, as_user_error
from flows.running.careful import forget_torn_locks, make_dvc_careful
from flows.running.children import end_with_flow
from flows.running.graph import causes, in_one_line

if TYPE_CHECKING:
    from dvc.repo import Repo


def answer(act: Callable[["Repo"], dict[str, Any]]) -> None:
    """Do `act`, then answer with what it returns, or with the kind of its failure."""
    end_with_flow()
    # SIGTERM goes to the whole session: the command ends, DVC notices, gives its locks back and comes to its own end
    signal.signal(signal.SIGTERM, lambda *_: None)
    channel = int(sys.argv[1])
    os.set_inheritable(channel, False)  # the command must not hold it
    outcome = _outcome(act)
    with os.fdopen(channel, "w") as file:
        json.dump(outcome, file)


def _outcome(act: Callable[["Repo"], dict[str, Any]]) -> dict[str, Any]:
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.ERROR)
    logging.getLogger("dvc.stage.cache").setLevel(logging.INFO)  # "is cached - skipping run" is news to an operator
    make_dvc_careful()
    try:
        with Repo(".", _wait_for_lock=True) as repo:
            forget_torn_locks(repo)
            return act(repo)
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
        if mended := as_user_error(cause):
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

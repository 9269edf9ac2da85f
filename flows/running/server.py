"""A Prefect server for the length of one flow, for when no PREFECT_API_URL names a lasting one.

Prefect can start one by itself, but only once Prefect is imported, on a port that another process may take meanwhile,
and a flow that is killed leaves it behind with its hand on the database. This one starts while Prefect is still being
imported, is given a port that is already bound, and ends with its flow. Its history stays in PREFECT_HOME:
`PREFECT_HOME=.prefect prefect server start` shows it.
"""

import atexit
import logging
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.runtime.errors import UserError
from flows.running.children import end_with_flow

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import State

LOG = "server.log"
_GRACE = 60.0  # seconds to end in: the first start migrates the database, which must not be cut in two


def start_temporary_server() -> None:
    """Start one and name it in PREFECT_API_URL; it ends when this process does.

    Must run before Prefect is imported: what is registered first for the end of the process comes last, and Prefect
    sends its last logs there.

    Raises:
        UserError: it did not start.
    """
    home = Path(os.environ["PREFECT_HOME"])
    server, url = launch(home)
    atexit.register(_stop, server)
    os.environ["PREFECT_API_URL"] = url
    os.environ["PREFECT_UI_URL"] = ""  # it serves no pages: no link to one in the log
    import prefect.main  # noqa: F401 - 2 s that pass while the server starts

    wait_for(url, home / LOG)


def check_lasting_server() -> None:
    """Ask the server that PREFECT_API_URL names for a sign of life.

    Raises:
        UserError: it gives none.
    """
    url = os.environ["PREFECT_API_URL"].rstrip("/")
    try:
        urllib.request.urlopen(f"{url}/health", timeout=30).close()  # noqa: S310 - what the operator wrote
    except urllib.error.HTTPError:
        pass  # it answers; what it thinks of us Prefect will say
    except (OSError, ValueError) as error:
        what = f"no Prefect server answers at {url} ({error})"
        raise UserError("PREFECT_API_URL", what, "start it, or unset the variable for a temporary one") from None


def run_flow(flow: "Flow[..., State]", *arguments: Any, **options: Any) -> "State":
    """Run a flow to its final state. Prefect tries for a minute to reach its server before it gives up.

    Raises:
        UserError: it gave up.
    """
    import httpx

    logging.raiseExceptions = False  # Prefect would tell of each line that its server does not take
    for name in ("prefect.flow_runs", "prefect._internal.concurrency"):
        logging.getLogger(name).addFilter(_is_no_lost_server)
    try:
        return flow(*arguments, **options, return_state=True)
    except httpx.HTTPError as error:
        if isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500:
            raise  # it is well, and we asked for something wrong
        what = f"Prefect's server failed on the way ({str(error).splitlines()[0] or type(error).__name__})"
        fix = "mend it, or unset PREFECT_API_URL for a temporary one, and run again: what is done stays done"
        raise UserError(os.environ["PREFECT_API_URL"], what, fix) from None


def _is_no_lost_server(record: logging.LogRecord) -> bool:
    """A lost server shows in many records, each with a traceback, and `run_flow` tells of it in a line."""
    import httpx

    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, httpx.HTTPError) or record.getMessage().startswith("Service 'EventsWorker' failed"))


def launch(home: Path) -> tuple["subprocess.Popen[bytes]", str]:
    """Start a server with its database in `home`; returns at once, with the address of its API."""
    home.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as listener, (home / LOG).open("w") as output:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        server = subprocess.Popen(
            [sys.executable, "-m", "flows.running.server", str(listener.fileno())],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=[listener.fileno()],
            env={**os.environ, "PREFECT_HOME": str(home), "PREFECT__SERVER_EPHEMERAL": "1"},
            start_new_session=True,
        )
    return server, url


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(_GRACE)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    server.stdin.close()


def wait_for(url: str, log: Path) -> None:
    """Ask once: the port listens already, so the answer comes when the server can give it, or fails when it ends."""
    limit = int(os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"])
    try:
        urllib.request.urlopen(f"{url}/health", timeout=limit).close()  # noqa: S310 - http, our own
    except OSError as error:
        what = f"Prefect's temporary server did not start ({error})"
        raise UserError(str(log), what, "read that log, then run again") from None


def main() -> None:
    """In the child: serve on the socket that was handed down."""
    end_with_flow(_GRACE)
    import uvicorn
    from prefect.server.api.server import create_app

    config = uvicorn.Config(create_app, factory=True, log_level="error", lifespan="on")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()

"""An MLflow server with its records in SQLite, which hands files on: what a small team runs."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from infra.health import answers
from tests.faults.world import environment, wait_until


@contextlib.contextmanager
def running_mlflow(folder: Path) -> Iterator[int]:
    """Start one whose records are `mlflow.db` in a folder; its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    places = {
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "files"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with (folder / "mlflow.log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=environment(**places), stdout=log, stderr=log, start_new_session=True
        )
    try:
        assert wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), 120), (folder / "mlflow.log").read_text()
        yield port
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # asked politely it waits for connections that a relay holds open
        server.wait()

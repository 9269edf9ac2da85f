"""For tests and benchmarks of registered models: a real `mlflow models serve`, and a client."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import environment


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    url: str
    """Where it answers requests for predictions."""
    pid: int
    """Of the process that began it; the one that answers is a child of it."""


@contextmanager
def running(model: Path | str, log: Path, **env: str) -> Iterator[Server]:
    """The server of an MLflow model, named by a folder or `models:/NAME@ALIAS`; it is gone in the end."""
    command = ["mlflow", "models", "serve", "-m", str(model), "--env-manager", "local"]
    with serving_command(command, log, Path.cwd(), **env) as server:
        yield server


@contextmanager
def serving_command(command: list[str], log: Path, folder: Path, **env: str) -> Iterator[Server]:
    """The server that a command line starts in a folder, on a free port of loopback; it is gone in the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*command, "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(**env), stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        for _ in range(600):
            assert process.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield Server(f"http://127.0.0.1:{port}/invocations", process.pid)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its own session: the server and its workers, nothing else
        process.wait()


@contextmanager
def serving(model: Path, log: Path) -> Iterator[str]:
    """Address that answers for an MLflow model; the server is gone in the end."""
    with running(model, log) as server:
        yield server.url


def ask(url: str, body: dict[str, Any]) -> Any:
    """What the server predicts."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310 - loopback
        return json.load(reply)["predictions"]

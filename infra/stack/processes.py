"""Servers as processes that outlive who started them, and are stopped by the number under which they were started.

A number is used again when its process has ended, so the note of it also holds when the process began: a note whose
process is gone, or is another one by now, says that the server does not run. Each server leads a session of its own,
to which everything belongs that it starts.
"""

import json
import os
import signal
import socket
import subprocess
import time
from contextlib import suppress

import psutil

from components.runtime.errors import UserError
from infra.stack.server import Server
from infra.stack.settings import HOST, Settings, plain_environment, write_private

START_SECONDS = 180.0
"""To come up in: the first start migrates databases, which takes a while on two busy cores."""
STOP_SECONDS = 30.0
_LOOK = 0.1
"""Seconds between two looks."""


def find(settings: Settings, name: str) -> psutil.Process | None:
    """The process of a server, if it runs."""
    try:
        note = json.loads(settings.pid_file(name).read_text())
        process = psutil.Process(note["pid"])
        is_it = process.create_time() == note["began"] and process.status() != psutil.STATUS_ZOMBIE
    except (FileNotFoundError, psutil.NoSuchProcess):
        return None
    return process if is_it else None


def start(settings: Settings, server: Server) -> None:
    """Start a server that does not run; returns at once.

    Raises:
        UserError: its port is taken, or what it needs before it starts is missing.
    """
    _check_port(settings, server.name)
    server.before()
    log = settings.log(server.name)
    with log.open("a") as output:
        child = subprocess.Popen(
            server.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**plain_environment(), **server.environment},
            start_new_session=True,
            umask=0o077,
        )
    child.returncode = 0  # it outlives us: nobody here waits for it
    note = {"pid": child.pid, "began": psutil.Process(child.pid).create_time()}
    write_private(settings.pid_file(server.name), json.dumps(note) + "\n")


def wait_until_well(settings: Settings, server: Server) -> None:
    """Wait for a server that was started, and do what it needs done then.

    Raises:
        UserError: it ended, or is not well in time; names its log.
    """
    deadline = time.monotonic() + START_SECONDS
    while not server.is_well():
        ended = find(settings, server.name) is None
        if ended or time.monotonic() > deadline:
            what = f"{server.name} {'ended' if ended else f'is not well after {START_SECONDS:.0f} s'}"
            raise UserError(str(settings.log(server.name)), what, "read that log, mend it, and run `make stack` again")
        time.sleep(_LOOK)
    server.after()


def stop(settings: Settings, name: str, number: signal.Signals) -> bool:
    """Stop a server and all that it started: by `number`, and after a while for certain; returns whether it ran.

    What a server of the same name that we did not start does, is not our business.
    """
    process = find(settings, name)
    if process is not None:
        process.send_signal(number)
        deadline = time.monotonic() + STOP_SECONDS
        while find(settings, name) is not None and time.monotonic() < deadline:
            time.sleep(_LOOK)
        for left in _session(process.pid):
            with suppress(psutil.NoSuchProcess):
                left.kill()
    settings.pid_file(name).unlink(missing_ok=True)
    return process is not None


def _session(leader: int) -> list[psutil.Process]:
    """Every process of the session; one that has no right to be asked is not ours."""
    members = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == leader:
                members.append(process)
    return members


def _check_port(settings: Settings, name: str) -> None:
    port = settings.ports[name]
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        fix = f"end who holds it, or give {name} another one in {settings.root / 'ports.json'}"
        raise UserError(f"port {port} of {name}", "is taken", fix) from None

"""Child processes that end with their flow: by Ctrl-C, SIGTERM, a time limit, or kill -9 of the flow itself.

Each child leads a session of its own, so that all that it starts can be ended at once. Its standard input is a pipe to
which the flow never writes: it closes when the flow ends, however that happens, and the child that watches it
(`end_with_flow`) then ends its session.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""


def end_with_flow(grace: float = GRACE) -> None:
    """In a child: watch standard input, and end the whole session when the flow's end of it closes."""
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # what this child starts must not read the lifeline
    os.close(nothing)

    def watch() -> None:
        while os.read(lifeline, 1):
            pass
        os.killpg(0, signal.SIGTERM)
        time.sleep(grace)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def leave_on_sigterm() -> None:
    """In the flow: end by SIGTERM as by Ctrl-C, through every `finally`."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


class Stopped(Exception):  # noqa: N818 - the flow is ending, nothing is wrong with the child
    """The flow is being ended and starts no more children."""


class Children:
    """The running children of one flow, from any of its threads; leaving the block ends them all."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(
        self,
        command: Sequence[str],
        log: Callable[[str], object],
        environment: Mapping[str, str] | None = None,
        timeout: float | None = None,
        pass_fds: Sequence[int] = (),
    ) -> int:
        """Run a command, give each line of its output to `log`, and return its exit status.

        Raises:
            Stopped: the flow is being ended.
            subprocess.TimeoutExpired: `timeout` seconds have passed; the child and all that it started are gone.
        """
        with self._lock:
            if self._stopped:
                raise Stopped
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=_environment(environment or {}),
                pass_fds=pass_fds,
                start_new_session=True,
            )
            self._running.add(child)
        reader = threading.Thread(target=_copy_lines, args=(child, log), daemon=True)
        reader.start()
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            _signal(child, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):  # the SIGKILL that follows does not ask
                child.wait(GRACE)
            raise
        finally:
            _signal(child, signal.SIGKILL)  # what the child left behind would also hold the pipe open
            child.wait()
            reader.join()
            for pipe in (child.stdin, child.stdout):
                pipe.close()
            with self._lock:
                self._running.discard(child)
        if self._stopped:
            raise Stopped
        return child.returncode

    def stop(self) -> None:
        """End all children: politely, so that DVC gives its locks back, and after a grace for certain."""
        with self._lock:
            self._stopped = True
            children = list(self._running)
        try:
            for child in children:
                _signal(child, signal.SIGTERM)
            deadline = time.monotonic() + GRACE
            while self._running and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:  # a second Ctrl-C comes here at once
            for child in children:
                _signal(child, signal.SIGKILL)


def _copy_lines(child: subprocess.Popen[str], log: Callable[[str], object]) -> None:
    for line in child.stdout:
        if text := line.rstrip():
            log(text)


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The flow's environment with the interpreter's own folder first: stages are started as `python -m …`."""
    folder = os.path.dirname(sys.executable)  # noqa: PTH120 - a string for PATH, symlinks of a venv not followed
    path = os.pathsep.join([folder, os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **extra}


def _signal(child: subprocess.Popen[str], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # the whole session is gone already
        os.killpg(child.pid, number)

"""Run one stage, or one point of a sweep, in a child process and sort what came of it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from components.runtime.errors import EXIT_INCOMPLETE, EXIT_USER_ERROR
from flows.running.children import Children


@dataclass(frozen=True)
class Outcome:
    """What came of a stage, or of another child."""

    kind: Literal["ran", "incomplete", "unchanged", "user_error", "failed", "fault", "timed_out"]
    """`incomplete`: ran, and left out what the user allowed; `user_error`: the user must mend something;
    `fault`: the machine failed, trying again may help; `failed`: a fault of ours."""
    detail: str = ""
    """One line for the operator."""
    changed: bool = False
    """Whether an output differs from what it was: if not, nothing that only waited for it has to run."""

    @property
    def is_well(self) -> bool:
        """Whether what comes next may start."""
        return self.kind in ("ran", "incomplete", "unchanged")


class LastLines:
    """Passes lines on and keeps those that explain a failure."""

    def __init__(self, log: Callable[[str], object]) -> None:
        self._log = log
        self._last = ""
        self._error = ""

    def __call__(self, line: str) -> None:
        """Take one line of output."""
        self._log(line)
        self._last = line
        if line.startswith("error: "):
            self._error = line

    def explain(self, outcome: Outcome) -> Outcome:
        """Add to a failure what its output says: the line `error: …`, or the one that ends a traceback."""
        if outcome.kind == "user_error":
            return Outcome("user_error", outcome.detail or self._error or "error: without a word")
        if outcome.kind == "failed":
            return Outcome("failed", ": ".join(filter(None, (outcome.detail, self._last))))
        return outcome


def run_stage(
    children: Children,
    name: str,
    before: Mapping[str, str | None],
    log: Callable[[str], object],
    force: bool = False,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Outcome:
    """Reproduce one stage; its upstream stages must be done. `before` holds the digests that its outputs had."""
    arguments = [name, *(["--force"] * force)]
    outcome, answer = ask(children, "flows.running.one_stage", arguments, log, environment, timeout)
    if not answer:
        return outcome
    return Outcome(answer["kind"], changed=answer["kind"] == "ran" and answer["outs"] != before)


def run_point(
    children: Children,
    stash: str,
    log: Callable[[str], object],
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Outcome:
    """Run the experiment that `stash` holds, in a temporary directory; this takes it out of there."""
    outcome, answer = ask(children, "flows.running.one_point", [stash], log, environment, timeout)
    return Outcome(answer["kind"], changed=True) if answer else outcome


def run_module(
    children: Children,
    module: str,
    log: Callable[[str], object],
    timeout: float | None = None,
    arguments: Sequence[str] = (),
) -> Outcome:
    """Run `python -m MODULE ARGUMENTS`, an act outside the graph."""
    return _run(children, [sys.executable, "-m", module, *arguments], log, None, timeout)[0]


def ask(
    children: Children,
    module: str,
    arguments: Sequence[str],
    log: Callable[[str], object],
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> tuple[Outcome, dict[str, Any]]:
    """Run a child of `answering.py`; returns its answer if all went well, else nothing and what went wrong."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as channel:
        try:
            command = [sys.executable, "-m", module, str(writing), *arguments]
            outcome, lines = _run(children, command, log, environment, timeout, pass_fds=[writing])
        finally:
            os.close(writing)
        said = channel.read()
    if outcome.kind == "timed_out" or not said:
        return outcome, {}
    answer = json.loads(said)
    told = Outcome(answer["kind"], answer.get("detail", ""))
    return (told, answer) if told.is_well else (lines.explain(told), {})


def _run(
    children: Children,
    command: Sequence[str],
    log: Callable[[str], object],
    environment: Mapping[str, str] | None,
    timeout: float | None,
    pass_fds: Sequence[int] = (),
) -> tuple[Outcome, LastLines]:
    lines = LastLines(log)
    try:
        status = children.run(command, lines, environment, timeout, pass_fds)
    except subprocess.TimeoutExpired:
        return Outcome("timed_out", f"took longer than {timeout:g} s and was ended (--timeout)"), lines
    if status == 0:
        return Outcome("ran", changed=True), lines
    if status == EXIT_INCOMPLETE:
        return Outcome("incomplete", "something was left out, as --skip-limit allows", changed=True), lines
    if status == EXIT_USER_ERROR:
        return lines.explain(Outcome("user_error")), lines
    if status < 0:
        return Outcome("fault", f"killed by {signal.Signals(-status).name}"), lines
    return lines.explain(Outcome("failed", f"exit code {status}")), lines

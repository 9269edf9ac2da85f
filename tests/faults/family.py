"""The processes of a flow, by what they do."""

import re
import signal
import time
from collections.abc import Iterable
from contextlib import suppress

import psutil

_ROLES = {
    "server": re.compile(r"-m flows\.running\.(server)"),
    "dvc": re.compile(r"-m flows\.running\.one_stage \d+ (\S+)"),
    "publishing": re.compile(r"-m components\.(register)\b"),
    "stage": re.compile(r"^\S*python\S* (?:-m components\.(?!register|params)|step\.py )(.+)"),
}


class Family:
    """A flow and all that it started, at one moment."""

    def __init__(self, flow: int) -> None:
        self.members: list[psutil.Process] = []
        self._found: dict[str, list[tuple[psutil.Process, str]]] = {role: [] for role in _ROLES}
        with suppress(psutil.NoSuchProcess):
            leader = psutil.Process(flow)
            self.members = [leader, *leader.children(recursive=True)]
        for member in self.members[1:]:
            with suppress(psutil.NoSuchProcess):
                line = " ".join(member.cmdline())
                for role, pattern in _ROLES.items():
                    if match := pattern.search(line):
                        self._found[role].append((member, match[1]))

    def of(self, role: str) -> list[psutil.Process]:
        """The processes that do this."""
        return [process for process, _ in self._found[role]]

    def names(self, role: str) -> set[str]:
        """The stages that they do it for, without their variants."""
        return {re.split(r"[@ ]", name)[0] for _, name in self._found[role]}

    def moment(self) -> str:
        """What the flow is doing."""
        for role, words in (("publishing", ""), ("stage", ""), ("dvc", "DVC around ")):
            if names := self.names(role):
                return words + " and ".join(sorted(names))
        return "between stages" if self.of("server") else "start or end"

    def is_gone(self, seconds: float) -> bool:
        """Whether all members end within the time."""
        deadline = time.monotonic() + seconds
        while any(map(is_alive, self.members)):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill -9, one directly after the other."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


def has_children(process: psutil.Process) -> bool:
    """Whether it has started something that still runs."""
    try:
        return any(map(is_alive, process.children()))
    except psutil.NoSuchProcess:
        return False


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; a zombie does not: it is its parent that is late."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

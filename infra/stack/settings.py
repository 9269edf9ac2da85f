"""Where the stack keeps what it has: folders, ports and secrets below `.stack/`, readable by their owner alone.

Ports and secrets are made once and kept, so that addresses written down today lead to the same servers tomorrow.
"""

import json
import os
import secrets
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from components.runtime.errors import UserError
from components.runtime.outputs import complete_file

ROOT = Path(".stack")
HOST = "127.0.0.1"
SERVERS = ("postgres", "s3", "mlflow", "prefect", "worker")
"""Each with a port of its own; the worker's answers how it is."""
SECRETS = ("postgres", "mlflow_database", "prefect_database", "prefect_api", "s3")
_PRIVATE = 0o600


@dataclass(frozen=True)
class Settings:
    """One stack: its folder, its ports and its secrets, each by name."""

    root: Path
    ports: Mapping[str, int]
    secrets: Mapping[str, str]

    def data(self, name: str) -> Path:
        """The folder that holds what a server must not lose."""
        return self.root / "data" / name

    def log(self, name: str) -> Path:
        """The file that a server prints into."""
        return self.root / "log" / f"{name}.log"

    def pid_file(self, name: str) -> Path:
        """The note of which process a server is."""
        return self.root / "run" / f"{name}.json"

    def url(self, name: str) -> str:
        """The address of a server that speaks HTTP."""
        return f"http://{HOST}:{self.ports[name]}"


def open_settings(root: Path, wanted: Mapping[str, int] = MappingProxyType({})) -> Settings:
    """The stack in `root`: as it was left, or a new one with the ports that are wanted and free ones for the rest.

    Raises:
        UserError: the stack has other ports than those that are wanted.
    """
    root = root.absolute()
    # others may pass through, because PostgreSQL may run as another user; what is private is so itself
    root.mkdir(mode=0o711, exist_ok=True)
    (root / "data").mkdir(mode=0o711, exist_ok=True)
    for folder in ("log", "run", *(f"data/{name}" for name in SERVERS)):
        (root / folder).mkdir(mode=0o700, exist_ok=True)
    ports = _kept(root / "ports.json") or _kept_from_now(root / "ports.json", _choose_ports(wanted))
    for name, port in wanted.items():
        if ports[name] != port:
            fix = "stop it, edit that file, and start it again"
            raise UserError(str(root / "ports.json"), f"{name} has port {ports[name]}, not {port}", fix)
    words = _kept(root / "secrets.json") or {}
    if missing := [name for name in SECRETS if name not in words]:
        words = _kept_from_now(
            root / "secrets.json", {**words, **{name: secrets.token_urlsafe(24) for name in missing}}
        )
    return Settings(root, ports, words)


def _kept(path: Path) -> dict | None:
    return json.loads(path.read_text()) if path.is_file() else None


def _kept_from_now(path: Path, value: dict) -> dict:
    write_private(path, json.dumps(value, indent=2) + "\n")
    return value


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody but its owner can read, at no moment."""
    with complete_file(path) as temporary:
        temporary.touch(_PRIVATE)
        temporary.write_text(text)


def _choose_ports(wanted: Mapping[str, int]) -> dict[str, int]:
    with ExitStack() as held:  # all at once, so that no port is given twice
        free = {name: held.enter_context(socket.create_server((HOST, 0))) for name in SERVERS if name not in wanted}
        return {name: wanted.get(name) or free[name].getsockname()[1] for name in SERVERS}


def plain_environment() -> dict[str, str]:
    """The environment of this process without whatever leads to other servers."""
    foreign = ("PREFECT_", "MLFLOW_", "AWS_", "PG")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}

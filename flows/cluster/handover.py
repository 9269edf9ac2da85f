"""What driver and nodes pass to each other: small things through Ray, data through DVC's remote."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.checkout.packages import installed
from components.runtime.errors import UserError
from flows.running.stage import Outcome


@dataclass(frozen=True)
class Task:
    """One stage for a node."""

    name: str
    project: str
    """Whose stage it is: a node keeps a folder for each project and stage."""
    entries: dict[str, Any]
    """Of dvc.lock: the stage's own, and those of the stages whose outputs it reads."""
    files: dict[str, str]
    """Outputs that DVC does not cache (metrics) and the stage reads, by path."""
    packages: dict[str, str]
    """What is installed where the flow runs: other versions would make other bytes."""
    force: bool
    timeout: float | None
    """Seconds."""


@dataclass(frozen=True)
class Result:
    """What a stage left: its outputs lie on the remote, the rest is here."""

    entry: dict[str, Any]
    """The stage's entry in dvc.lock."""
    files: dict[str, str]
    """Outputs that DVC does not cache, by path."""

    def save(self, path: Path) -> None:
        """For a child that must not get it on its command line."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> "Result":
        """What `save` wrote."""
        return cls(**json.loads(path.read_text()))


@dataclass(frozen=True)
class Finished:
    """The last thing that a node says about a stage."""

    outcome: Outcome
    result: Result | None
    """None where the stage failed."""


def check_packages(wanted: dict[str, str], node: str) -> None:
    """Compare with what is installed here.

    Raises:
        UserError: a package differs.
    """
    here = installed()
    if other := [name for name in wanted if here.get(name) != wanted[name]]:
        named = ", ".join(f"{name} {here.get(name, 'missing')} instead of {wanted[name]}" for name in sorted(other)[:3])
        raise UserError(f"node {node}", f"has other packages than the flow: {named}", "install requirements.lock there")

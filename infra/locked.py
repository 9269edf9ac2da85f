"""What requirements.lock pins, and what pyproject.toml asks for by itself."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = Path("requirements.lock")
PROJECT = Path("pyproject.toml")
_PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True)
class Package:
    """A package at a version; the name as indexes write it."""

    name: str
    version: str


def locked(lock: Path = LOCK) -> list[Package]:
    """Every package that the lock file pins, whatever the platform; sorted by name."""
    pins = _PIN.findall(lock.read_text())
    return sorted((Package(canonicalize_name(name), version) for name, version in pins), key=lambda p: p.name)


def asked_for(project: Path = PROJECT) -> set[str]:
    """The names of the packages that this project names itself, those for its tests included."""
    table = tomllib.loads(project.read_text())["project"]
    named = [*table["dependencies"], *(line for extra in table["optional-dependencies"].values() for line in extra)]
    return {canonicalize_name(Requirement(line).name) for line in named}

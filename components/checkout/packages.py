"""What a requirements.lock pins, and in what this environment differs from it."""

import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name

LOCK = Path("requirements.lock")
_PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)(?:\s*;\s*([^\\\n]+))?", re.MULTILINE)


@dataclass(frozen=True)
class Package:
    """A package at a version; the name as indexes write it."""

    name: str
    version: str
    marker: str = ""
    """Where it is installed; everywhere where it is empty."""

    @property
    def is_for_here(self) -> bool:
        """Whether the marker holds on this platform."""
        return not self.marker or Marker(self.marker).evaluate()


@dataclass(frozen=True)
class Difference:
    """A package that is installed in another version than the locked one."""

    name: str
    locked: str
    installed: str | None
    """None where it is not installed."""

    def __str__(self) -> str:
        return f"{self.name} {self.locked} is locked, {self.installed or 'none'} is installed"


def locked(lock: Path = LOCK) -> list[Package]:
    """Every package that the lock file pins, whatever the platform; sorted by name."""
    pins = _PIN.findall(lock.read_text())
    packages = [Package(canonicalize_name(name), version, marker.strip()) for name, version, marker in pins]
    return sorted(packages, key=lambda package: package.name)


def installed() -> dict[str, str]:
    """The version of each package of this environment, by canonical name."""
    return {canonicalize_name(found.metadata["Name"]): found.version for found in importlib.metadata.distributions()}


def differences(lock: Path = LOCK) -> list[Difference]:
    """The packages of which this environment has another version than the lock file, or none."""
    here = installed()
    return [
        Difference(package.name, package.version, here.get(package.name))
        for package in locked(lock)
        if package.is_for_here and here.get(package.name) != package.version
    ]

"""Refuse packages that are known to be bad: those that requirements.lock pins and those that are installed.

    python -m infra.known_bad
In: infra/known_bad.toml, requirements.lock. Needs no network. Exit code 2: one of them is bad, told in a line.
"""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from components.checkout.packages import LOCK, Package, locked
from components.runtime.errors import UserError, run_main

LIST = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True)
class Bad:
    """Versions of a package, what goes wrong with them, and where that is told."""

    package: str
    versions: SpecifierSet
    why: str
    advisory: str


def known_bad(path: Path = LIST) -> list[Bad]:
    """The committed list."""
    entries = tomllib.loads(path.read_text())["bad"]
    return [Bad(**{**entry, "versions": SpecifierSet(entry["versions"])}) for entry in entries]


def installed() -> list[Package]:
    """Every package of this environment."""
    return [Package(canonicalize_name(found.metadata["Name"]), found.version) for found in distributions()]


def check(packages: Iterable[Package], bad: Iterable[Bad], where: str, fix: str) -> None:
    """Compare packages with the list.

    Raises:
        UserError: some are on it; names each.
    """
    entries = list(bad)
    found = [
        f"{package.name} {package.version} is known to be bad ({entry.advisory}: {entry.why})"
        for package in packages
        for entry in entries
        if entry.package == package.name and entry.versions.contains(package.version, prereleases=True)
    ]
    if found:
        raise UserError(where, ", ".join(found), fix)


def main() -> None:
    """Check both."""
    bad = known_bad()
    check(locked(), bad, str(LOCK), "ask for a newer version in pyproject.toml and run `make lock`")
    check(installed(), bad, "this environment", "install what requirements.lock names: `make setup`")
    print(f"none of {len(locked())} locked packages is on the list of {len(bad)} known to be bad")


if __name__ == "__main__":
    run_main(main)

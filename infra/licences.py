"""List the licence of every package that this project installs, as its own metadata states it.

python -m infra.licences        Out: docs/licences.md
"""

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path

from components.checkout.packages import Package, locked
from components.runtime.errors import run_main
from infra.locked import asked_for

OUT = Path("docs/licences.md")
_CLASSIFIER = "License :: "
_LONG = 60
"""Characters from which a statement is a text and not the name of one."""
_COPYLEFT = re.compile(r"\b(A?GPL|General Public|MPL|Mozilla|LGPL|EPL)", re.IGNORECASE)
_HEAD = """\
# Licences

Made by `python -m infra.licences` from the metadata of the installed packages at the versions of requirements.lock;
a package that this platform does not install is not looked into.
"""


def licence(stated: PackageMetadata) -> str:
    """What a package states: an SPDX expression, else a short name, else its classifiers."""
    expression, name = stated.get("License-Expression"), (stated.get("License") or "").strip()
    classified = [line.rpartition(" :: ")[2] for line in stated.get_all("Classifier") or () if _CLASSIFIER in line]
    short = name if name and name.upper() != "UNKNOWN" and len(name) < _LONG and "\n" not in name else ""
    return expression or short or ", ".join(classified) or "not stated"


def stated_by(packages: Iterable[Package]) -> dict[Package, str]:
    """What each package states."""
    found = {}
    for package in packages:
        try:
            found[package] = licence(metadata(package.name))
        except PackageNotFoundError:
            found[package] = "(not installed on this platform)"
    return found


def page() -> str:
    """The whole list: what is asked for first, what that brings second, and who asks for something in return."""
    stated, direct = stated_by(locked()), asked_for()
    return "\n".join([
        _HEAD,
        "## Asked for by this project\n",
        *_table({package: said for package, said in stated.items() if package.name in direct}),
        "\n## With conditions on sharing changes (all used unchanged, none is part of an export)\n",
        *(f"- {package.name}: {said}" for package, said in stated.items() if _COPYLEFT.search(said)),
        "\n## Brought by those\n",
        *_table({package: said for package, said in stated.items() if package.name not in direct}),
        "",
    ])  # fmt: skip


def _table(stated: Mapping[Package, str]) -> list[str]:
    cells = [(package.name, package.version, said.replace("|", "\\|")) for package, said in stated.items()]
    return ["| package | version | licence |", "| --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in cells)]


def main() -> None:
    """Write the page."""
    OUT.write_text(page())


if __name__ == "__main__":
    run_main(main)

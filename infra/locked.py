"""What pyproject.toml asks for by itself; what requirements.lock makes of that, components.checkout.packages reads."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path("pyproject.toml")


def asked_for(project: Path = PROJECT) -> set[str]:
    """The names of the packages that this project names itself, those for its tests included."""
    table = tomllib.loads(project.read_text())["project"]
    named = [*table["dependencies"], *(line for extra in table["optional-dependencies"].values() for line in extra)]
    return {canonicalize_name(Requirement(line).name) for line in named}

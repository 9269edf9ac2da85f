"""Clones of the checked-out commit with params of their own, in which studies run."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from conftest import edit_params, environment  # noqa: E402

__all__ = ["ROOT", "adjusted", "edit_params", "execute", "prepared", "read"]

SCRATCH = ROOT / ".work" / "studies"


def read(name: str) -> dict[str, Any]:
    """The content of tests/studies/NAME.yaml."""
    return YAML(typ="safe").load(ROOT / "tests" / "studies" / f"{name}.yaml")


def adjusted(name: str, params: dict[str, Any]) -> Path:
    """The clone of a study, with params that differ from the commit's in what is given."""
    target = _clone(name)
    _git(target, "checkout", "-q", "origin/HEAD", "--", "params.yaml")
    edit_params(target, **params)
    return target


def prepared(name: str, *stages: str) -> Path:
    """The clone of a study that is one run of the pipeline, with these stages up to date, to go on from there."""
    target = adjusted(name, read(name))
    execute(target, "dvc", "repro", "-q", *stages)
    return target


def execute(target: Path, *command: str) -> None:
    """Run a command in a clone; it has to succeed."""
    subprocess.run(command, cwd=target, env=environment(), check=True)


def _clone(name: str) -> Path:
    """A clone of the checked-out commit; the one of an earlier run where it is of the same commit."""
    target, head = SCRATCH / name, _git(ROOT, "rev-parse", "HEAD")
    if target.is_dir() and _git(target, "rev-parse", "origin/HEAD") == head:
        return target
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "-q", str(ROOT), str(target)], check=True)
    (target / "dvc.lock").unlink(missing_ok=True)
    return target


def _git(where: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=where, check=True, capture_output=True, text=True).stdout.strip()

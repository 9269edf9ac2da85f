"""Make a version's files again: its commit's code, its own params and lock, and a DVC cache that holds data only.

With the checkout's cache DVC would not run a stage whose results it holds, but check them out. So the work tree has a
cache of its own, which gets what the first stages brought in from outside, and nothing that a later stage made.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.publishing.key import LOCK, PARAMS
from components.publishing.runs import REQUIREMENTS
from components.reproducing.registered import Registered, paths
from components.runtime.process import die_with_parent

_HERE = "checkout"
"""The name under which a work tree knows the checkout's cache, a remote like others."""


@dataclass(frozen=True)
class Rebuild:
    """What came of it."""

    tree: Path
    given: frozenset[str]
    """Stages whose outputs are the registered ones, brought from the cache or a remote and not made again."""
    failure: str
    """Why it did not come to its end; empty where it did."""


def rebuild(registered: Registered, tree: Path, cache: Path) -> Rebuild:
    """Run the stages behind a version in a work tree of its commit; what they print goes to stderr.

    Args:
        registered: the version.
        tree: the work tree.
        cache: DVC's cache of the checkout.
    """
    stages = registered.needed()
    for name in (LOCK, PARAMS, REQUIREMENTS):  # a run leaves them uncommitted, so they travel with the version
        shutil.copyfile(registered.files / name, tree / name)
    for path in (path for stage in stages.values() for path in paths(stage, "outs")):
        _remove(tree / path)  # a commit may hold some, and what is compared must have been made here
    _configure(tree, cache)
    given = frozenset(name for name, stage in stages.items() if not stage.get("deps") and _bring(tree, name, stage))
    status, lines = _dvc(tree, "repro", *registered.targets, show=True)
    said = [line for line in lines if line.startswith(("error: ", "ERROR: "))]
    return Rebuild(tree, given, "; ".join(dict.fromkeys(said)) or f"exit code {status}" if status else "")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def _configure(tree: Path, cache: Path) -> None:
    """A cache of its own, the checkout's remotes with their settings, and the checkout's cache as one more."""
    from dvc.config import Config

    checkout = Config.from_cwd()
    with Config(str(tree / ".dvc")).edit("local") as local:
        local["cache"]["dir"] = str(tree / ".dvc" / "cache")
        local["remote"] = {**checkout["remote"], _HERE: {"url": str(cache)}}
        if default := checkout["core"].get("remote"):
            local["core"]["remote"] = default


def _bring(tree: Path, name: str, stage: dict[str, Any]) -> bool:
    """Bring what a stage took from outside, as it was then; the stage has to run where that is gone."""
    remotes: list[tuple[str, ...]] = [("-r", _HERE), ()]
    return any(
        _dvc(tree, "pull", "-q", *remote, name)[0] == 0 and all((tree / path).exists() for path in paths(stage, "outs"))
        for remote in remotes
    )


def _dvc(tree: Path, *arguments: str, show: bool = False) -> tuple[int, list[str]]:
    """Exit code and lines of a DVC command in the work tree, by the Python and the libraries of this process."""
    search = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=tree,
        env={**os.environ, "PATH": search},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=die_with_parent,
    ) as process:
        lines = []
        for line in process.stdout or ():
            lines.append(line.rstrip())
            if show:
                print(line, end="", file=sys.stderr, flush=True)
    return process.returncode, lines

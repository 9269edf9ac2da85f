"""A work tree of another commit, beside the checkout and out of its way."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.runtime.errors import UserError
from components.runtime.outputs import WORK

TREES = WORK / "reproduce"
"""Where they lie, each beside the lock of the process that works in it."""


@contextmanager
def work_tree(commit: str, path: Path, keep: bool) -> Iterator[Path]:
    """The commit's files in `path`, gone afterwards unless `keep`; what an earlier one left there is removed first.

    Raises:
        UserError: no git checkout, or one that does not have the commit.
    """
    if _git("rev-parse", "--git-dir").returncode:
        raise UserError(str(Path.cwd()), "is not a git checkout", "clone the project with git")
    if _git("cat-file", "-e", f"{commit}^{{commit}}").returncode:
        raise UserError(f"commit {commit[:12]}", "is not in this clone", f"`git fetch origin {commit}`, or clone anew")
    remove_tree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = _git("worktree", "add", "--quiet", "--detach", str(path), commit)
    if made.returncode:
        raise UserError(str(path), made.stderr.strip().rpartition("\n")[2], "mend that and run again")
    try:
        yield path.resolve()
    finally:
        if not keep:
            remove_tree(path)


def remove_tree(path: Path) -> None:
    """Remove a work tree and git's memory of it; a folder that is none, and nothing at all, are removed too."""
    shutil.rmtree(path, ignore_errors=True)
    _git("worktree", "prune")


def lock_of(tree: Path) -> Path:
    """Held by the process that works in a tree."""
    return tree.with_name(f"{tree.name}.lock")


def _git(*arguments: str) -> "subprocess.CompletedProcess[str]":
    # no hooks: DVC's would fetch all data of the commit
    command = ["git", "-c", "core.hooksPath=/dev/null", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)

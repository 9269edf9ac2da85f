"""Run the one experiment in a stash in a temporary directory, as `dvc exp run --temp` does, and tell the flow.

python -m flows.running.one_point ANSWER STASH
"""

import sys
from typing import TYPE_CHECKING, Any

from flows.running.answering import answer

if TYPE_CHECKING:
    from dvc.repo import Repo


def run(repo: "Repo", stash: str) -> dict[str, Any]:
    """Run what `stash` holds: a git reference that no other process takes experiments from."""
    from dvc.repo.experiments.queue.tempdir import TempDirQueue

    TempDirQueue(repo, stash).reproduce()
    return {"kind": "ran"}


if __name__ == "__main__":
    answer(lambda repo: run(repo, sys.argv[2]))

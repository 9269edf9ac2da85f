"""In the flow's checkout: give stages to the remote, or take one from there. Nothing is executed.

python -m flows.cluster.adopting ANSWER give STAGE...
python -m flows.cluster.adopting ANSWER take STAGE RESULT
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.runtime.outputs import complete_file
from flows.cluster.handover import Result
from flows.running.answering import answer
from flows.running.lock_file import LOCK_FILE, enter

if TYPE_CHECKING:
    from dvc.repo import Repo


def give(repo: "Repo", names: Sequence[str]) -> dict[str, Any]:
    """Push what stages made, so that nodes can read it."""
    repo.push(list(names))
    return {"kind": "ran"}


def take(repo: "Repo", name: str, result: Result) -> dict[str, Any]:
    """Enter what a node made, then pull what DVC caches of it."""
    from dvc.repo import lock_repo

    for path, text in result.files.items():
        with complete_file(Path(path)) as temporary:
            temporary.write_text(text)
    with lock_repo(repo):
        enter(LOCK_FILE, {name: result.entry})
    repo.pull([name])
    return {"kind": "ran"}


def main(repo: "Repo", act: str, *arguments: str) -> dict[str, Any]:
    """One of the two."""
    return take(repo, arguments[0], Result.load(Path(arguments[1]))) if act == "take" else give(repo, arguments)


if __name__ == "__main__":
    answer(lambda repo: main(repo, *sys.argv[2:]))

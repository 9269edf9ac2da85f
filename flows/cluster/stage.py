"""On a node, in the folder of one stage: pull what it reads, reproduce it, push what it made.

python -m flows.cluster.stage ANSWER STAGE [--force]
The run cache on the remote remembers what has run: a stage that ended well is not executed again, even if its node
died before it could say so.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.running.answering import answer
from flows.running.lock_file import LOCK_FILE, read_entries

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage


def run_and_hand_over(repo: "Repo", name: str, force: bool) -> dict[str, Any]:
    """Whether the stage ran, and a `Result`."""
    (stage,) = repo.stage.collect(name)
    if upstream := [up.addressing for up in repo.index.graph.successors(stage)]:
        repo.pull(upstream)
    repo.stage_cache = _runs_of(repo, stage)
    done = repo.reproduce(name, single_item=True, force=force, pull=True)
    repo.push([name], run_cache=True)
    (stage,) = repo.stage.collect(name)
    return {
        "kind": "ran" if done else "unchanged",
        "entry": read_entries(LOCK_FILE)[name],
        "files": {str(out): Path(str(out)).read_text() for out in stage.outs if not out.use_cache},
    }


def _runs_of(repo: "Repo", stage: "Stage") -> Any:
    """DVC's run cache, handed over for one stage only: DVC copies all runs there ever were, at every stage."""
    from dvc.fs import generic
    from dvc.stage.cache import StageCache, _can_hash, _get_stage_hash

    class RunsOfOneStage(StageCache):
        def transfer(self, from_odb: Any, to_odb: Any, force: bool = True) -> list[tuple[str, str]]:  # noqa: ARG002
            stage.save_deps()
            if not _can_hash(stage):
                return []
            key = _get_stage_hash(stage)
            source, target = (odb.fs.join(odb.path, "runs", key[:2], key) for odb in (from_odb, to_odb))
            if not from_odb.fs.exists(source):
                return []
            names = [from_odb.fs.name(path) for path in from_odb.fs.find(source)]
            for name in names:
                there, here = from_odb.fs.join(source, name), to_odb.fs.join(target, name)
                generic.copy(from_odb.fs, there, to_odb.fs, here)
            return [(key, name) for name in names]

    return RunsOfOneStage(repo)


if __name__ == "__main__":
    answer(lambda repo: run_and_hand_over(repo, sys.argv[2], "--force" in sys.argv[3:]))

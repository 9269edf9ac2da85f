"""Run one stage as `dvc --wait-for-lock repro -q --single-item STAGE` does, and tell the flow what came of it.

python -m flows.running.one_stage ANSWER STAGE [--force]
"""

import sys
from typing import TYPE_CHECKING, Any

from flows.running.answering import answer

if TYPE_CHECKING:
    from dvc.repo import Repo


def reproduce(repo: "Repo", name: str, force: bool) -> dict[str, Any]:
    """Whether the stage ran, and its outputs' digests."""
    done = repo.reproduce(name, single_item=True, force=force)
    outs = {str(out): out.hash_info.value for stage in done for out in stage.outs}
    return {"kind": "ran" if done else "unchanged", "outs": outs}


if __name__ == "__main__":
    answer(lambda repo: reproduce(repo, sys.argv[2], "--force" in sys.argv[3:]))

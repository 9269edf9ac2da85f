"""Remove what params.yaml no longer names: folders of removed variants, and their entries in dvc.lock.

DVC forgets a variant that leaves `variants:` but leaves its outputs where they are, and a stage that reads a folder of
all variants would still find them. Which folders hold one entry per variant is read from dvc.yaml.
    python -m flows.running.prune
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.runtime.errors import run_main
from flows.running.graph import open_repo
from flows.running.lock_file import LOCK_FILE, read_blocks, write_blocks

if TYPE_CHECKING:
    from dvc.repo import Repo

_KEYS = ("${key}", "${item}")


def prune(repo: "Repo") -> list[str]:
    """Remove leftovers; returns what was removed."""
    removed = []
    generated = _generated(repo)
    for group, definition in _foreach_stages(repo).items():
        for family in _families(definition):
            for folder in sorted(family.iterdir()) if family.is_dir() else ():
                if folder.is_dir() and not folder.is_symlink() and folder.name not in generated[group]:
                    shutil.rmtree(folder)
                    removed.append(str(folder))
    return removed + tidy_lock_file(repo)


def tidy_lock_file(repo: "Repo") -> list[str]:
    """Put dvc.lock into the order of dvc.yaml without entries of removed variants; returns what was removed.

    DVC writes entries in order of completion, which differs from run to run.
    """
    blocks = read_blocks(LOCK_FILE)
    generated = _generated(repo)
    gone = [name for name in blocks if _is_gone(name, generated)]
    order = [name for name in _names(repo) if name in blocks]
    order += [name for name in blocks if name not in {*order, *gone}]
    if order != list(blocks):
        write_blocks(LOCK_FILE, [blocks[name] for name in order])
    return [f"{LOCK_FILE}: {name}" for name in gone]


def _is_gone(name: str, generated: dict[str, set[str]]) -> bool:
    group, _, key = name.partition("@")
    return group in generated and key not in generated[group]


def _names(repo: "Repo") -> list[str]:
    return [stage.name for stage in repo.index.stages if getattr(stage, "name", None) and stage.relpath == "dvc.yaml"]


def _foreach_stages(repo: "Repo") -> dict[str, dict[str, Any]]:
    """The definition of each stage of dvc.yaml that is run once per variant."""
    from dvc.utils.serialize import load_yaml

    stages = load_yaml(os.path.join(repo.root_dir, "dvc.yaml")).get("stages", {})  # noqa: PTH118 - DVC speaks str
    return {name: stage["do"] for name, stage in stages.items() if "foreach" in stage}


def _generated(repo: "Repo") -> dict[str, set[str]]:
    """Each per-variant stage, then the variants that it has now."""
    keys: dict[str, set[str]] = {group: set() for group in _foreach_stages(repo)}
    for name in _names(repo):
        group, _, key = name.partition("@")
        if group in keys:
            keys[group].add(key)
    return keys


def _families(definition: dict[str, Any]) -> Iterator[Path]:
    """Folders that hold one folder per variant: what stands before `${key}` in the paths of a stage's outputs."""
    found = set()
    for kind in ("outs", "metrics", "plots"):
        for out in definition.get(kind, ()):
            template = Path(out if isinstance(out, str) else next(iter(out)))
            for part, parent in zip(template.parts, [*reversed(template.parents)], strict=True):
                if part in _KEYS and parent != Path():
                    found.add(parent)
    yield from sorted(found)


def main() -> None:
    """Prune and say so."""
    with open_repo() as repo:
        removed = prune(repo)
    print("\n".join(f"removed {name}" for name in removed) or "nothing to remove")


if __name__ == "__main__":
    run_main(main)

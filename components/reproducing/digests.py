"""The files of a version, one by one: the digest it was registered with, and that of the file made again."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.checkout.cache import Cache
from components.publishing.dvc_lock import dvc_md5
from components.reproducing.closeness import largest_difference
from components.reproducing.rebuilding import Rebuild
from components.reproducing.registered import Registered
from components.runtime.outputs import sha256


@dataclass(frozen=True)
class File:
    """One file, or a folder whose listing is gone."""

    stage: str
    """Empty for what the registry serves."""
    path: str
    registered: str | None
    """None where there was no such file."""
    rebuilt: str | None
    """None where it was not made."""
    is_given: bool = False
    """Brought from where it was kept, and not made again."""
    difference: str = ""
    """How far apart the numbers in both are, where that can be told."""

    @property
    def is_equal(self) -> bool:
        """Whether both are the same bytes."""
        return self.registered == self.rebuilt


def compare_files(registered: Registered, rebuilt: Rebuild, cache: Cache) -> list[File]:
    """Every output of the stages behind a version, and the graph that the version serves."""
    files = [
        File(name, path, before, after, name in rebuilt.given, _difference(path, before, after, rebuilt.tree, cache))
        for name, stage in registered.needed().items()
        for out in stage["outs"]
        for path, before, after in _compare(out, rebuilt.tree, cache)
    ]
    if registered.scorer_digest:
        scorer = rebuilt.tree / registered.chosen.scorer
        after = sha256(scorer) if scorer.is_file() else None
        files.append(File("", f"models:/{registered}: scorer.onnx", registered.scorer_digest, after))
    return files


def _compare(out: dict[str, Any], tree: Path, cache: Cache) -> Iterator[tuple[str, str | None, str | None]]:
    """Path, registered and rebuilt digest of each file of an output."""
    root, before, after = Path(out["path"]), out["md5"], dvc_md5(tree / out["path"])
    if not before.endswith(".dir"):
        yield str(root), before, after
        return
    found = (path for path in sorted((tree / root).rglob("*")) if path.is_file())
    here = {path.relative_to(tree / root).as_posix(): dvc_md5(path) for path in found}
    known = here if before == after else cache.listing(before)
    if known is None:
        yield f"{root}/", before, after
        return
    for name in sorted({*known, *here}):
        yield str(root / name), known.get(name), here.get(name)


def _difference(path: str, before: str | None, after: str | None, tree: Path, cache: Cache) -> str:
    if before is None or after is None or before == after or (kept := cache.find(before)) is None:
        return ""
    return largest_difference(kept, tree / path)

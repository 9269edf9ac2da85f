"""Files beside the stores: checkpoints, answers of batch scoring, monitoring pages, and what killed processes left."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from components.bulk.workplace import ANSWERS, answer_of, lock_of, workplaces
from components.checkout import tree
from components.checkout.lock import if_free
from components.drifting import MONITORING
from components.retaining.batch import Batch, Item, days_since, last_change, remove_folders, size_of
from components.retaining.versions import Version
from components.runtime.outputs import WORK
from components.shadowing.answers import SHADOW

_TRAININGS = ("train", "seeds", "compress")


def checkpoint_batch(days: int) -> Batch:
    """Checkpoints that nobody has written to for `days`; a training that ends well removes its own."""
    files = (path for of in _TRAININGS for path in sorted((WORK / of).rglob("checkpoint")))
    old = [path.parent for path in files if _age(path) >= days]
    items = [_item("checkpoints", folder, "its training was not taken up again") for folder in old]
    return Batch(items, lambda: remove_folders(old, below=WORK))


def score_batch(days: int) -> Batch:
    """Answers that are not versioned by DVC."""
    kinds = "[!.]*/manifest.json", f"{SHADOW}/*/*/manifest.json"
    answers = (path.parent for folder in ANSWERS for kind in kinds for path in sorted(folder.glob(kind)))
    old = [path for path in answers if _age(path) >= days and not path.with_name(f"{path.name}.dvc").exists()]
    items = [_item("scores", folder, "by policy") for folder in old]
    return Batch(items, lambda: _remove_free(old, lock_of, shutil.rmtree))


def page_batch(versions: Iterable[Version], days: int) -> Batch:
    """Monitoring pages of versions without an alias, and all that is known of versions that are gone."""
    aliases = {(each.name, each.number): each.aliases for each in versions}
    items, old = [], []
    for folder in _folders(MONITORING, "*/*"):
        version = folder.parent.name, folder.name
        page, why = (folder / "report", "has no alias") if version in aliases else (folder, "is gone")
        if not aliases.get(version) and page.is_dir() and _age(page) >= days:
            items.append(_item("pages", page, f"its version {why}"))
            old.append(page)
    return Batch(items, lambda: old and _if_free(if_free(MONITORING / "lock"), lambda: remove_folders(old)))


def leftover_batch(days: int) -> Batch:
    """Half-made answers, work trees and temporary folders that no process works in."""
    halves = [path for path in workplaces() if _is_left(path, lock_of(answer_of(path)), days)]
    trees = [path for path in _folders(tree.TREES) if _is_left(path, tree.lock_of(path), days)]
    temporary = [path for path in sorted((WORK / "tmp").glob("*")) if _age(path) >= days]
    items = [_item("leftovers", path, "of a process that was ended") for path in (*halves, *trees, *temporary)]

    def remove() -> None:
        _remove_free(halves, lambda path: lock_of(answer_of(path)), shutil.rmtree)
        _remove_free(trees, tree.lock_of, tree.remove_tree)
        remove_folders(path for path in temporary if path.is_dir())
        for path in temporary:
            path.unlink(missing_ok=True)

    return Batch(items, remove)


def _folders(root: Path, pattern: str = "*") -> Iterator[Path]:
    return (path for path in sorted(root.glob(pattern)) if path.is_dir())


def _is_left(path: Path, lock: Path, days: int) -> bool:
    if _age(path) < days:
        return False
    with if_free(lock) as is_free:
        return is_free


def _remove_free(paths: Iterable[Path], lock: Callable[[Path], Path], remove: Callable[[Path], object]) -> None:
    """Remove what no process works in by now."""
    for path in paths:
        _if_free(if_free(lock(path)), lambda path=path: remove(path))


def _if_free(lock: AbstractContextManager[bool], act: Callable[[], object]) -> None:
    with lock as is_free:
        if is_free:
            act()


def _age(path: Path) -> float:
    return days_since(last_change(path))


def _item(kind: str, path: Path, why: str) -> Item:
    return Item(kind, str(path), size_of(path), f"{_age(path):.0f} days old, {why}")

"""DVC's cache: what nothing names any more, by DVC's own garbage collector."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from components.checkout.cache import Cache
from components.retaining.batch import Batch, Item, days_since
from components.runtime.errors import UserError


def cache_batch(locks: Iterable[dict[str, Any]], days: int) -> Batch:
    """Objects older than `days` that no lock, work tree, branch, tag or experiment names.

    A version that was never committed exists in its own dvc.lock only, which no option of `dvc gc` can name; so what
    is in use is gathered here, and DVC's collector removes the rest.

    Args:
        locks: stages of the dvc.lock of every version that stays.
        days: younger objects stay in any case.

    Raises:
        UserError: DVC cannot read the work tree or a branch.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.ERROR)  # it warns of every commit without results, whose data is nowhere
    with Repo(".", _wait_for_lock=True) as repo:
        odb, cache = repo.cache.local, Cache(Path(repo.cache.local_cache_dir))
        if not cache.root.resolve().is_relative_to(Path.cwd()):
            return Batch([], lambda: None)  # others may use it too, and nothing here knows what they need
        try:
            named = repo.used_objs(all_branches=True, all_tags=True, all_experiments=True, force=True)
        except DvcException as error:
            raise UserError("dvc.yaml", " ".join(str(error).split()), "mend it, `dvc status` says more") from None
        used = {each.value for of in named.values() for each in of}
        used |= {md5 for stages in locks for md5 in _objects(stages, cache)}
        old = {md5 for md5 in odb.all() if md5 not in used and days_since(_written(cache, md5)) >= days}
    size = sum(map(cache.size, old))
    items = [Item("cache", f"{len(old):,} results", size, "nothing names them")] if old else []
    return Batch(items, lambda: _collect(old))


def _collect(old: set[str]) -> None:
    from dvc.repo import Repo
    from dvc_data.hashfile.gc import gc
    from dvc_data.hashfile.hash_info import HashInfo

    with Repo(".", _wait_for_lock=True) as repo, repo.lock:
        odb = repo.cache.local
        gc(odb, [HashInfo(odb.hash_name, md5) for md5 in odb.all() if md5 not in old])


def _objects(stages: dict[str, Any], cache: Cache) -> Iterator[str]:
    """Digests of all outputs; of folders, with those of their files."""
    for stage in stages.values():
        for out in stage.get("outs", ()):
            yield out["md5"]
            if out["md5"].endswith(".dir"):
                yield from (cache.listing(out["md5"]) or {}).values()


def _written(cache: Cache, md5: str) -> float:
    path = cache.find(md5)
    return path.stat().st_mtime if path else 0

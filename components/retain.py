"""Act `retain`: let go of what no version, alias or checkout needs any more, as the section `retain:` says.

In:   params.yaml; the registry; DVC's cache; .work/, scores/, .monitoring/
Out:  stdout; with --apply all that was listed is gone
Run:  python -m components.retain            lists what would go, how large it is and why; changes nothing
      python -m components.retain --apply    removes it

What stays, whatever the policy: a version with an alias and the one that a rollback goes to; every file by which a
version that stays is served and made again; what the work tree, branches, tags and DVC's experiments name. Where that
cannot be told, nothing is removed. It holds the checkout as a flow does; interrupted, the next run continues.
"""

import argparse
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from rich.filesize import decimal

from components.checkout.lock import one_flow, one_publication
from components.params import load_section
from components.params.retain import Params
from components.publishing.key import STORE, is_default_store, published, tracking_uri
from components.runtime.errors import UserError, run_main, without_logins
from components.runtime.process import die_with_parent

if TYPE_CHECKING:
    from components.publishing.store import Store
    from components.retaining.batch import Batch, Item


def retain(params: Params, name: str, apply: bool = False) -> "list[Item]":
    """What may go, and with `apply` went.

    Args:
        params: the policy.
        name: of the registered model and of the experiment.
        apply: remove it.

    Raises:
        UserError: the store is away or not the one that was published to, or what a version needs cannot be read.
    """
    from components.publishing.store import open_store

    with open_store(name) if has_registry() else nullcontext() as store:
        batches = _batches(store, params, name)
        if apply:
            for batch in batches:
                batch.remove()
    return [item for batch in batches for item in batch.items]


def _batches(store: "Store | None", params: Params, name: str) -> "list[Batch]":
    """Everything that may go; versions first, so that an interruption leaves none without what it needs."""
    from components.retaining.cache import cache_batch
    from components.retaining.files import checkpoint_batch, leftover_batch, page_batch, score_batch
    from components.retaining.runs import run_batch
    from components.retaining.versions import all_versions, locks_of, superfluous, version_batch

    versions = all_versions(store) if store else []
    gone = superfluous(versions, name, params.keep_versions)
    stay = [version for version in versions if version not in gone]
    locks = list(locks_of(store, stay)) if store else []  # before anything is removed, whatever is asked for
    ruled = [
        (lambda _: version_batch(store, gone), params.keep_versions if store else None),
        (lambda days: run_batch(store, stay, days), params.keep_runs_days if store else None),
        (lambda days: cache_batch(locks, days), params.keep_cache_days),
        (checkpoint_batch, params.keep_checkpoints_days),
        (score_batch, params.keep_scores_days),
        (lambda days: page_batch(stay, days), params.keep_pages_days),
        (leftover_batch, params.keep_leftovers_days),
    ]
    return [make(rule) for make, rule in ruled if rule is not None]


def has_registry() -> bool:
    """Whether anything was ever registered from here.

    Raises:
        UserError: it was, but in another store or in one that is gone: an empty one must not be taken for it.
    """
    last, uri = published().get("tracking_uri"), without_logins(tracking_uri())
    is_there = not is_default_store() or STORE.exists()
    if last and (last != uri or not is_there):
        what = f"the versions of this checkout were last registered in {last}, which is gone or not asked"
        raise UserError("MLFLOW_TRACKING_URI", what, "set it to that store; nothing else tells what they need")
    return is_there


def summary(items: "Sequence[Item]", apply: bool) -> str:
    """What a person reads: every item before it goes, sums by kind afterwards."""
    if not items:
        return "nothing to remove"
    total = decimal(_sum(items))
    if apply:
        kinds = {kind: [item for item in items if item.kind == kind] for kind in dict.fromkeys(i.kind for i in items)}
        told = ", ".join(f"{kind} {len(of)} ({decimal(_sum(of))})" for kind, of in kinds.items())
        return f"removed     {told}; {total} in all"
    width = max(len(item.name) for item in items)
    sizes = ["on server" if item.size is None else decimal(item.size) for item in items]
    lines = [
        f"{item.kind:<12}{item.name:<{width}}  {size:>9}  {item.why}" for item, size in zip(items, sizes, strict=True)
    ]
    return "\n".join([*lines, f"{total} would go, nothing was removed: `python -m components.retain --apply` does it"])


def _sum(items: "Iterable[Item]") -> int:
    return sum(item.size or 0 for item in items)


def main() -> None:
    """List, or remove."""
    die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m components.retain", description=__doc__.partition("\n")[0])
    parser.add_argument("--apply", action="store_true", help="remove what is listed without it")
    parser.add_argument("--wait", action="store_true", help="wait for a flow in this checkout instead of giving up")
    options = parser.parse_args()
    params, name = load_section("retain"), load_section("register").name
    if options.apply:
        with one_flow(options.wait), one_publication():
            items = retain(params, name, apply=True)
    else:
        items = retain(params, name)
    print(summary(items, options.apply))


if __name__ == "__main__":
    run_main(main)

"""Act `reproduce`: make a registered version again, and say file by file whether it came out the same.

In:   a version in the registry (MLFLOW_TRACKING_URI, or mlflow.db in the checkout), git's commits, DVC's cache
Out:  stdout; nothing in artifacts/. It works in .work/reproduce/NAME-NUMBER, a git work tree that goes afterwards
Run:  python -m components.reproduce NAME@ALIAS | NAME/NUMBER | models:/NAME/NUMBER [--json [FILE]] [--keep]

Every stage that the version's files come from runs anew, with the version's own commit, params.yaml and dvc.lock; only
what the first stage brought in from outside is taken from DVC's cache or remote, where it is still there. Nothing is
installed: where libraries differ from the version's requirements.lock, that is told.
Exit code 0: every file is equal. 1: some differ, or could not be made; told why. 2: something to mend, in one line.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.checkout.lock import if_free
from components.checkout.tree import TREES, lock_of, work_tree
from components.params import load_section
from components.runtime.errors import UserError, run_main
from components.runtime.outputs import write_json
from components.runtime.process import die_with_parent

if TYPE_CHECKING:
    from components.reproducing.causes import Cause
    from components.reproducing.digests import File

_SHOWN = 12  # digits of a digest; --json has them all


@dataclass(frozen=True)
class Answer:
    """What came of it."""

    version: str
    commit: str
    variant: str
    files: "list[File]"
    causes: "list[Cause]"
    tree: str | None
    """The work tree, where it was kept."""

    @property
    def is_equal(self) -> bool:
        """Whether every file is."""
        return all(file.is_equal for file in self.files) and not any(cause.code == "stages" for cause in self.causes)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        files = [{**asdict(file), "is_equal": file.is_equal} for file in self.files]
        return {**asdict(self), "files": files, "is_equal": self.is_equal}


def reproduce(reference: str, keep: bool = False) -> Answer:
    """Rebuild a version and compare it.

    Args:
        reference: NAME@ALIAS or NAME/NUMBER.
        keep: leave the work tree.

    Raises:
        UserError: the version, its commit or the tracking server is not there.
    """
    from dvc.repo import Repo

    from components.checkout.cache import Cache
    from components.publishing.store import open_store
    from components.reproducing.causes import find_causes
    from components.reproducing.digests import compare_files
    from components.reproducing.rebuilding import rebuild
    from components.reproducing.registered import check_store, load_registered

    check_store()
    TREES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="version-", dir=TREES) as folder:
        with open_store(load_section("register").name) as store:
            registered = load_registered(store, reference, Path(folder))
        path = TREES / f"{registered.name}-{registered.number}"
        with _alone(path), work_tree(registered.commit, path, keep) as tree, Repo(".") as repo:
            cache = Cache(Path(repo.cache.local_cache_dir))
            rebuilt = rebuild(registered, tree, cache.root)
            files = compare_files(registered, rebuilt, cache)
            causes = find_causes(registered, rebuilt, files)
    kept = str(path) if keep else None
    return Answer(str(registered), registered.commit, registered.variant, files, causes, kept)


@contextmanager
def _alone(tree: Path) -> Iterator[None]:
    with if_free(lock_of(tree)) as is_free:
        if not is_free:
            raise UserError(str(tree), "is being made by another process", "let it end and run again")
        yield


def summary(answer: Answer) -> str:
    """What a person reads: every file, everything that decides its bytes, and the verdict."""
    width = max((len(file.path) for file in answer.files), default=0)
    lines = [f"{'file':<{width}}  {'registered':<{_SHOWN}}  {'rebuilt':<{_SHOWN}}  equal"]
    for file in answer.files:
        before, after = ((digest or "-")[:_SHOWN] for digest in (file.registered, file.rebuilt))
        equal = ("given" if file.is_given else "yes") if file.is_equal else f"NO  {file.difference}".rstrip()
        lines.append(f"{file.path:<{width}}  {before:<{_SHOWN}}  {after:<{_SHOWN}}  {equal}")
    lines += [
        "",
        *(f"{cause.code:<10}  {cause.verdict:<8}{cause.text}" for cause in answer.causes),
        "",
        _verdict(answer),
    ]
    return "\n".join([*lines, f"kept        {answer.tree}"] if answer.tree else lines)


def _verdict(answer: Answer) -> str:
    made = f"{answer.version} ({answer.variant}, commit {answer.commit[:12]})"
    if answer.is_equal:
        given = sum(file.is_given for file in answer.files)
        return f"equal       {made}: {len(answer.files) - given} files made again, each with the same bytes"
    other = sum(not file.is_equal for file in answer.files)
    known = [cause.code for cause in answer.causes if cause.verdict == "differs"]
    why = f"because of: {', '.join(known)}" if known else "although nothing that is known of has changed"
    return f"NOT EQUAL   {made}: {other} of {len(answer.files)} files, {why}"


def main() -> None:
    """Rebuild what the command line names."""
    die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m components.reproduce", description=__doc__.partition("\n")[0])
    parser.add_argument("version", help="NAME@ALIAS, NAME/NUMBER or models:/NAME/NUMBER")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="the answer as JSON (stdout)")
    parser.add_argument("--keep", action="store_true", help="leave the work tree")
    options = parser.parse_args()
    answer = reproduce(options.version, options.keep)
    if options.json == "-":
        print(json.dumps(answer.to_json(), indent=2))
    else:
        print(summary(answer))
        if options.json:
            write_json(Path(options.json), answer.to_json())
    if not answer.is_equal:
        sys.stdout.flush()
        raise SystemExit(1)


if __name__ == "__main__":
    run_main(main)

"""Stage `ingest`: bring raw data into the checkout as found, so that DVC versions it.

In:   the source named by `ingest:` in params.yaml
Out:  artifacts/ingest/ — the raw files, listing.json with every file's size and SHA-256, and after a sync that
      changed them previous.json, the schema of what was there before
Run:  python -m components.ingest        (again: syncs, and removes what the source no longer has)
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from components import sources
from components.params import load_globals, load_section
from components.params.ingest import Params
from components.preparing.previous import PREVIOUS, remember_previous
from components.runtime.errors import UserError, run_main
from components.runtime.outputs import ARTIFACTS, WORK, write_json
from components.runtime.process import die_with_parent, set_threads

LISTING = "listing.json"


def ingest(params: Params, out: Path = ARTIFACTS / "ingest") -> dict[str, object]:
    """Sync `out` with the source and return its listing.

    The listing goes away before the first change and comes back last: a folder without one is not taken for complete.
    Files whose content is the same are left alone, so that DVC's links to its cache survive.

    Raises:
        UserError: the source is missing, empty or unreadable.
    """
    name, _, dataset = params.source.partition(":")
    source = sources.find(params.source)
    request = sources.Request(dataset or None, params.path)
    fetched = source.fetch(request)
    first = next(fetched, None)  # a source that is refused must not cost the data that is there
    if first is None:
        raise UserError("ingest.path", f"source '{name}' found no file in {params.path}", "check the folder")
    out.mkdir(parents=True, exist_ok=True)
    (out / LISTING).unlink(missing_ok=True)
    files = {file.name: _sync(file, out) for file in (first, *fetched)}
    for leftover in _files_below(out):
        if leftover.relative_to(out).as_posix() not in (*files, PREVIOUS):
            leftover.unlink()
    listing = {
        "source": params.source,
        "version": source.version(),
        "options": dataclasses.asdict(params.options),
        "files": files,
    }
    remember_previous(out, listing, ARTIFACTS / "prepare" / "manifest.json")
    temporary = _temporary(LISTING)
    write_json(temporary, listing)
    temporary.replace(out / LISTING)
    return listing


def _sync(file: sources.RawFile, out: Path) -> dict[str, object]:
    parts = PurePosixPath(file.name).parts
    if PurePosixPath(file.name).is_absolute() or ".." in parts or file.name in (LISTING, PREVIOUS):
        raise UserError("ingest.path", f"file name {file.name!r} would leave artifacts/ingest", "rename it")
    temporary, target = _temporary(file.name), out / file.name
    try:
        file.save(temporary)
        entry = {"size": temporary.stat().st_size, "sha256": _sha256(temporary)}
        if not (target.is_file() and target.stat().st_size == entry["size"] and _sha256(target) == entry["sha256"]):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return entry


def _temporary(name: str) -> Path:
    folder = WORK / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"ingest-{os.getpid()}-{PurePosixPath(name).name}"


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _files_below(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if not path.is_dir() or path.is_symlink())


def main() -> None:
    """Run the stage."""
    die_with_parent()
    set_threads(load_globals().threads)
    listing = ingest(load_section("ingest"))
    files = listing["files"]
    print(
        f"{listing['source']} ({listing['version']}): {len(files)} files, {sum(f['size'] for f in files.values()):,} B"
    )


if __name__ == "__main__":
    run_main(main)

"""Stage `ingest`: bring raw data into the checkout as found, so that DVC versions it.

In:   the source named by `ingest:` in params.yaml
Out:  artifacts/ingest/ — the raw files, listing.json with every file's size and SHA-256, and after a sync that
      changed them previous.json, the schema of what was there before
Run:  python -m components.ingest        (again: syncs, and removes what the source no longer has)
"""

import dataclasses
from pathlib import Path

from components import sources
from components.ingesting.syncing import check_names, remove_others, sync
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
    A sync that broke off continues where it stopped.

    Raises:
        UserError: the source is missing, empty or unreadable.
    """
    name, _, dataset = params.source.partition(":")
    source = sources.find(params.source)
    request = sources.Request(dataset or None, params.path)
    files = list(source.fetch(request))  # a source that is refused must not cost the data that is there
    if not files:
        raise UserError("ingest.path", f"source '{name}' found no file in {params.path}", "check the folder")
    check_names(files, reserved=(LISTING, PREVIOUS))
    out.mkdir(parents=True, exist_ok=True)
    (out / LISTING).unlink(missing_ok=True)
    remove_others(out, [*(file.name for file in files), PREVIOUS])
    listing = {
        "source": params.source,
        "version": source.version(),
        "options": dataclasses.asdict(params.options),
        "files": sync(files, out, request.stop),
    }
    remember_previous(out, listing, ARTIFACTS / "prepare" / "manifest.json")
    temporary = WORK / "tmp" / LISTING
    write_json(temporary, listing)
    temporary.replace(out / LISTING)
    return listing


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

"""What the data looked like before the last refresh, so that prepare can tell drift from growth.

DVC deletes artifacts/prepare/ before prepare runs, and no artifact may depend on hidden state. So ingest, whose output
persists and through which the outside world comes in, leaves `artifacts/ingest/previous.json` beside the raw data: the
schema of the manifest that was made of other content. Equal content leaves it as it is.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.runtime.outputs import WORK, read_json, write_json

PREVIOUS = "previous.json"
DROPPED = "dropped"


@dataclass(frozen=True)
class Previous:
    """The schema of the data before it changed."""

    kind: str
    item_shape: list[int]
    dtype: str
    classes: list[str]
    columns: dict[str, str]
    """Column of a table, then its kind, or `dropped`."""
    column_ranges: dict[str, list[float]]
    counts: dict[str, dict[str, int]]


def raw_identity(listing: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says of the raw data it was made of: source, how it was read, and the SHA-256 of both with every
    file's name, size and digest; the versions of libraries have no say.
    """
    reading = _reading(listing)
    content = json.dumps({**reading, "files": listing["files"]}, sort_keys=True, ensure_ascii=False)
    return {**reading, "digest": hashlib.sha256(content.encode()).hexdigest()}


def column_kinds(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Every raw column of a manifest (as plain data) with its kind, `dropped` where it is not used."""
    used = {column["name"]: column["kind"] for column in manifest["columns"]}
    return dict.fromkeys(manifest["dropped_columns"], DROPPED) | used


def remember_previous(out: Path, listing: Mapping[str, Any], manifest_path: Path) -> None:
    """Leave the schema of the manifest in `out` when it was made of other content than the listing names.

    A manifest of another source, or one read with other options, is no predecessor: such a change is the user's own.
    """
    target = out / PREVIOUS
    manifest, stored = _read(manifest_path), _read(target)
    if manifest and manifest.get("raw") and _same_reading(manifest["raw"], listing):
        if manifest["raw"]["digest"] != raw_identity(listing)["digest"]:
            _replace(target, {**_reading(listing), "schema": vars(_schema(manifest))})
    elif stored and not _same_reading(stored, listing):
        target.unlink()


def load_previous(raw_dir: Path) -> Previous | None:
    """What `remember_previous` left; None where the data has no predecessor."""
    path = raw_dir / PREVIOUS
    return Previous(**read_json(path, "ingest")["schema"]) if path.exists() else None


def _reading(listing: Mapping[str, Any]) -> dict[str, Any]:
    # through JSON, because a listing that was not read from its file may hold tuples
    return json.loads(json.dumps({"source": listing["source"], "options": listing["options"]}))


def _same_reading(stored: Mapping[str, Any], listing: Mapping[str, Any]) -> bool:
    return {key: stored[key] for key in ("source", "options")} == _reading(listing)


def _schema(manifest: Mapping[str, Any]) -> Previous:
    kept = ("kind", "item_shape", "dtype", "classes", "column_ranges", "counts")
    return Previous(columns=column_kinds(manifest), **{key: manifest[key] for key in kept})


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON artifact, or None where it is missing or damaged: it is made anew, not mended."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _replace(path: Path, value: dict[str, Any]) -> None:
    # by renaming, because what is there may be a link into DVC's cache
    (WORK / "tmp").mkdir(parents=True, exist_ok=True)
    temporary = WORK / "tmp" / f"ingest-{path.name}"
    write_json(temporary, value)
    temporary.replace(path)

"""dvc.lock as this project reads it: stages with the digests of what went in and came out, by DVC's own rules."""

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from components.runtime.errors import UserError

_IGNORED = {"__pycache__", ".gitkeep"}  # as in .dvcignore


def read_stages(path: Path, fix: str) -> dict[str, Any]:
    """The stages of a dvc.lock, by name.

    Raises:
        UserError: the file is damaged; `fix` says what to do.
    """
    try:
        return YAML(typ="safe").load(path.read_text())["stages"]
    except (YAMLError, KeyError, TypeError):
        raise UserError(str(path), "is damaged", fix) from None


def look_up(params: dict[str, Any], key: str) -> Any:
    """The value of a dotted key, None where there is none, as DVC notes it."""
    return functools.reduce(lambda at, part: at.get(part) if isinstance(at, dict) else None, key.split("."), params)


def dvc_md5(path: Path) -> str | None:
    """DVC's digest of a file or folder; None where there is nothing."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and not _IGNORED.intersection(file.parts))
        listing = [{"md5": dvc_md5(file), "relpath": file.relative_to(path).as_posix()} for file in files]
        listing.sort(key=lambda entry: entry["relpath"] or "")
        digest = hashlib.md5(json.dumps(listing, sort_keys=True).encode(), usedforsecurity=False)
        return f"{digest.hexdigest()}.dir"
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except FileNotFoundError:
        return None

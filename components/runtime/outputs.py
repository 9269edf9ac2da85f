"""Outputs are complete or absent: written under a temporary name in `.work/`, then renamed into place."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.runtime.errors import UserError

WORK = Path(".work")
ARTIFACTS = Path("artifacts")


@contextmanager
def complete_dir(target: Path) -> Iterator[Path]:
    """A temporary directory that becomes `target` when the block ends well, and vanishes when it does not.

    It lies in `.work/`, not beside the target: a leftover of a killed stage inside `artifacts/` would
    count as data for stages that depend on a whole folder.
    """
    (WORK / "tmp").mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{target.name}-", dir=WORK / "tmp"))
    temporary.chmod(0o755)  # mkdtemp's 0700 would travel into artifacts/
    try:
        yield temporary
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def complete_file(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that replaces it when the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write JSON with one layout for the whole project, so that equal values are equal bytes.

    Raises:
        ValueError: for NaN or infinity, which are no JSON.
    """
    path.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path, made_by: str) -> Any:
    """Read a JSON artifact.

    Raises:
        UserError: the artifact is missing or is no JSON; names the stage that makes it.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(str(path), "is missing", f"run `dvc repro {made_by}` first") from None
    except ValueError:
        raise UserError(str(path), "is not valid JSON", f"run `dvc repro -f -s {made_by}` to make it again") from None

"""What decides a publication, and whether it was made: known in milliseconds, without MLflow.

Standard library only. The flow asks `is_published()` before it imports anything, so that a checkout with nothing to do
says so at once.
"""

import hashlib
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.runtime.errors import UserError, without_logins
from components.runtime.outputs import WORK, complete_file, write_json

LOCK = Path("dvc.lock")
PARAMS = Path("params.yaml")
STORE = Path("mlflow.db")
PUBLISHED = WORK / "published.json"
CODE = ("components", "flows", "dvc.yaml")
"""What a commit must hold to make a version again; dvc.lock, params.yaml and requirements.lock travel with it."""


@dataclass(frozen=True)
class CodeState:
    """The commit that is checked out, and whether the code in use is that commit's."""

    commit: str
    dirty: bool


def tracking_uri() -> str:
    """Where MLflow's records are: MLFLOW_TRACKING_URI, or a SQLite file in the checkout."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{STORE}"


def is_default_store() -> bool:
    """Whether that is the file in the checkout."""
    return tracking_uri() == f"sqlite:///{STORE}"


def code_state() -> CodeState:
    """The state of the code.

    Raises:
        UserError: not a git checkout, or one without a commit.
    """
    commit = _git("rev-parse", "--verify", "HEAD").strip()
    # a model's file that git does not know yet is code too
    return CodeState(commit, bool(_git("status", "--porcelain", "--untracked-files=all", "--", *CODE)))


def publish_key() -> str:
    """Digest of everything that decides a publication: results (dvc.lock), rules (params.yaml), clean code or not."""
    digest = hashlib.sha256()
    for path in (LOCK, PARAMS):
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except FileNotFoundError:
            digest.update(b"missing")
    digest.update(b"dirty" if code_state().dirty else b"clean")
    return digest.hexdigest()


def is_published() -> bool:
    """Whether the results in this checkout have been published to the store in use."""
    note = published()
    if note.get("tracking_uri") != without_logins(tracking_uri()) or note.get("key") != publish_key():
        return False
    return not is_default_store() or STORE.exists()  # the note outlives a store that was deleted


def published() -> dict[str, Any]:
    """The last publication as `note_published` wrote it; empty when there is none."""
    try:
        note = json.loads(PUBLISHED.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def note_published(key: str, outcome: dict[str, Any]) -> None:
    """Remember that the publication of `key` is complete, and what came of it."""
    with complete_file(PUBLISHED) as temporary:
        write_json(temporary, {"tracking_uri": without_logins(tracking_uri()), "key": key, **outcome})


def forget_published() -> None:
    """Have the next run publish again: what it asked for may be answered otherwise by now."""
    PUBLISHED.unlink(missing_ok=True)


def _git(*arguments: str) -> str:
    try:
        # no optional locks: asking must not disturb a commit that is being made
        done = subprocess.run(["git", "--no-optional-locks", *arguments], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise UserError("git", "is not installed", "install git, versions are tied to commits") from None
    except subprocess.CalledProcessError as error:
        inside = "not a git repository" not in error.stderr
        what = "has no commit yet" if inside else "is not a git checkout"
        fix = "commit the code first" if inside else "clone the project with git, versions are tied to commits"
        raise UserError(str(Path.cwd()), what, fix) from None
    return done.stdout

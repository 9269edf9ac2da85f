"""MLflow runs that no version came from."""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from components.publishing.key import is_default_store, tracking_uri
from components.publishing.store import Store
from components.retaining.batch import Batch, Item, days_since, size_of
from components.retaining.versions import Version
from components.runtime.errors import UserError

if TYPE_CHECKING:
    from mlflow.entities import Run

_PARENT = "mlflow.parentRunId"
_AT_ONCE = 100  # runs per call of `mlflow gc`, whose command line is not endless


def run_batch(store: Store, versions: Iterable[Version], days: int) -> Batch:
    """Runs of this project, older than `days`, that are neither a version's nor above one's.

    A run that was deleted in MLflow goes for good, but not if a version came from it: its files are the version.
    """
    from mlflow.entities import ViewType

    needed = {version.run_id for version in versions}
    active = {run.info.run_id: run for run in _search(store, ViewType.ACTIVE_ONLY)}
    deleted = {run.info.run_id: run for run in _search(store, ViewType.DELETED_ONLY)}
    todo = list(needed)
    while todo:
        run = active.get(run_id := todo.pop()) or deleted.get(run_id)
        parent = run.data.tags.get(_PARENT) if run else None
        if parent and parent not in needed:
            needed.add(parent)
            todo.append(parent)
    old = [run for run in (*active.values(), *deleted.values()) if run.info.run_id not in needed and _age(run) >= days]

    def remove() -> None:
        ids = [run.info.run_id for run in old]
        for run_id in ids:
            if run_id in active:
                store.client.delete_run(run_id)
        _purge(ids)

    return Batch([_item(run, run.info.run_id in deleted) for run in old], remove)


def _search(store: Store, view: int) -> "Iterator[Run]":
    experiment = store.client.get_experiment_by_name(store.name)
    token: str | None = ""
    while experiment and token is not None:
        page = store.client.search_runs([experiment.experiment_id], run_view_type=view, page_token=token or None)
        yield from page
        token = page.token or None


def _age(run: "Run") -> float:
    return days_since((run.info.end_time or run.info.start_time) / 1000)


def _item(run: "Run", is_deleted: bool) -> Item:
    place = urlsplit(run.info.artifact_uri)
    folder = Path(place.path)
    size = (size_of(folder) if folder.exists() else 0) if place.scheme in ("", "file") else None
    why = "was deleted in MLflow" if is_deleted else "no version came from it"
    return Item("runs", f"{run.info.run_name} {run.info.run_id[:8]}", size, f"{_age(run):.0f} days old, {why}")


def _purge(run_ids: list[str]) -> None:
    """Remove deleted runs and their files for good; a server keeps them until its own `mlflow gc`."""
    uri = tracking_uri()
    if urlsplit(uri).scheme in ("http", "https"):
        return
    for start in range(0, len(run_ids), _AT_ONCE):
        ids = ",".join(run_ids[start : start + _AT_ONCE])
        command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", uri, "--run-ids", ids]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip().rpartition("\n")[2]
            fix = "the runs are deleted, their files are not; mend that and run again"
            raise UserError("mlflow gc", said if is_default_store() else "failed", fix)

"""MLflow runs that no version came from."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from components.publishing.store import Store
from components.retaining.batch import Batch, Item, days_since, size_of
from components.retaining.versions import Version, every

if TYPE_CHECKING:
    from mlflow.entities import Run

_PARENT = "mlflow.parentRunId"


def run_batch(store: Store, versions: Iterable[Version], days: int) -> Batch:
    """Runs of this project, older than `days`, that are neither a version's nor above one's.

    A run that was deleted in MLflow goes too, but not if a version came from it: its files are the version. `mlflow gc`
    would do, were it not to purge all deleted experiments as well, whatever it is asked for, versions' files included.
    """
    from mlflow.entities import ViewType
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    # as in `mlflow gc`: a database can remove a run for good, a server keeps a deleted one until its owner does that
    purge = getattr(store.client._tracking_client.store, "_hard_delete_run", None)
    needed = {version.run_id for version in versions}
    active = {run.info.run_id: run for run in _search(store, ViewType.ACTIVE_ONLY)}
    deleted = {run.info.run_id: run for run in _search(store, ViewType.DELETED_ONLY) if purge is not None}
    todo = list(needed)
    while todo:
        run_id = todo.pop()
        run = active.get(run_id) or deleted.get(run_id)
        parent = run.data.tags.get(_PARENT) if run else None
        if parent and parent not in needed:
            needed.add(parent)
            todo.append(parent)
    old = [run for run in (*active.values(), *deleted.values()) if run.info.run_id not in needed and _age(run) >= days]

    def remove() -> None:
        for run in old:
            if run.info.run_id in active:
                store.client.delete_run(run.info.run_id)
            if purge is not None:
                # files first: what is interrupted here is found again as a deleted run
                get_artifact_repository(run.info.artifact_uri).delete_artifacts()
                purge(run.info.run_id)

    return Batch([_item(run, run.info.run_id in deleted) for run in old], remove)


def _search(store: Store, view: int) -> "Iterator[Run]":
    if experiment := store.client.get_experiment_by_name(store.name):
        yield from every(partial(store.client.search_runs, [experiment.experiment_id], run_view_type=view))


def _age(run: "Run") -> float:
    return days_since((run.info.end_time or run.info.start_time) / 1000)


def _item(run: "Run", is_deleted: bool) -> Item:
    place = urlsplit(run.info.artifact_uri)
    folder = Path(place.path)
    size = (size_of(folder) if folder.exists() else 0) if place.scheme in ("", "file") else None
    why = "was deleted in MLflow" if is_deleted else "no version came from it"
    return Item("runs", f"{run.info.run_name} {run.info.run_id[:8]}", size, f"{_age(run):.0f} days old, {why}")

"""What MLflow remembers of a scored batch: its counts, its manifest and the page of its strangest records, once."""

from pathlib import Path
from typing import Any

from components.publishing.runs import copy_file, find_or_create, is_finished, log_metrics, log_params, staged
from components.publishing.store import TAG, Store
from components.runtime.outputs import sha256


def publish_scored(store: Store, manifest: dict[str, Any], files: list[Path], commit: str) -> str:
    """Tell of a batch, keyed by the first file's content; returns the run's id.

    Args:
        store: the tracking store.
        manifest: of the answer.
        files: to upload, the manifest first.
        commit: that the version was made by.
    """
    model, fdr = manifest["model"], manifest["fdr"] or {}
    tags = {f"{TAG}commit": commit, f"{TAG}scored_by": f"{model['name']}/{model['version']}"}
    run = find_or_create(store, sha256(files[0]), "scoring", tags, source="components.score")
    if is_finished(run):
        return run.info.run_id
    counts = {"records": manifest["records"], "alarms": manifest["alarms"], "skipped": len(manifest["skipped"])}
    shares = {"alarm_share": manifest["alarms"] / manifest["records"], "parts": len(manifest["parts"])}
    log_params(store, run, {**{f"model.{name}": value for name, value in model.items()}, "fdr": fdr.get("q")})
    log_metrics(store, run, counts | shares | {f"fdr.{name}": value for name, value in fdr.items()})
    with staged() as folder:
        for path in files:
            copy_file(path, folder / path.name)
        store.client.log_artifacts(run.info.run_id, str(folder))
    store.client.set_terminated(run.info.run_id, "FINISHED")
    return run.info.run_id

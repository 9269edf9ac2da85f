"""What MLflow remembers of monitoring: one run per version, under the run it was registered from, a step per look."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.drifting.findings import Finding
from components.drifting.martingale import Wealth
from components.publishing.runs import find_or_create
from components.publishing.store import TAG, Store

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def log_look(store: Store, version: "ModelVersion", findings: Sequence[Finding], wealth: Wealth, folder: Path) -> None:
    """Add the numbers of one look, the step being the records so far, and replace the files by those in `folder`."""
    from mlflow.entities import Metric

    tags = {
        f"{TAG}commit": version.tags.get(f"{TAG}commit", ""),
        f"{TAG}version": str(version.version),
        "mlflow.parentRunId": version.run_id,
    }
    key, name = f"monitoring {store.name} {version.run_id}", f"monitoring of version {version.version}"
    run_id = find_or_create(store, key, name, tags, source="components.drift").info.run_id
    metrics = {"alarms": sum(finding.verdict == "problem" for finding in findings), "log_wealth": wealth.now}
    for finding in findings:
        values = {"": finding.effect, "_low": finding.low, "_high": finding.high}
        metrics |= {f"{finding.check}{end}": value for end, value in values.items() if value is not None}
    now = int(time.time() * 1000)
    store.client.log_batch(run_id, [Metric(name, float(value), now, wealth.records) for name, value in metrics.items()])
    store.client.log_artifacts(run_id, str(folder))
    store.client.set_terminated(run_id, "FINISHED")

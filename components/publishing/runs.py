"""What MLflow remembers of a pipeline: one parent run for the whole, one child run for each variant.

A run carries the content hash of what it describes and is finished last. One that was interrupted is found by its key
and filled again: equal params, metrics (same step and time) and files overwrite themselves, so nothing is doubled.
"""

import csv
import getpass
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.data.splits import Manifest
from components.publishing.key import LOCK, PARAMS
from components.publishing.machine import describe_machine
from components.publishing.results import CHAIN, Results
from components.publishing.store import KEY_TAG, TAG, Store
from components.runtime.outputs import ARTIFACTS, WORK, read_json

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric, Run

REQUIREMENTS = Path("requirements.lock")
SPEED = WORK / "speed"
"""V.json: what train measured, with the SHA-256 of the history.csv it belongs to; no artifact, because it varies."""
_METRICS_PER_CALL = 1000  # MLflow's limits
_PARAMS_PER_CALL = 100
_DIGEST_LENGTH = 36
_COLUMN_TYPES = {"numeric": "double", "boolean": "boolean", "categorical": "string", "date": "datetime"}


def publish_pipeline(store: Store, results: Results) -> "Run":
    """The parent run, with everything known before the promotion; `finish_pipeline` ends it."""
    run = find_or_create(store, results.pipeline_key(), "pipeline", provenance(results))
    if is_finished(run):
        return run
    board = results.leaderboard
    names = ("winner", "rule", "candidates", "eligible")
    log_params(store, run, {**{name: board[name] for name in names}, "source": results.manifest.source["name"]})
    rows = {**board["rows"], **board["baselines"]}.items()
    log_metrics(store, run, {f"{variant}/{name}": value for variant, row in rows for name, value in row.items()})
    store.client.log_inputs(run.info.run_id, [_dataset(results)])
    with staged() as folder:
        compared = ARTIFACTS / "compare"
        # report.html comes with the promotion, and losses are metrics of the variants' runs
        for path in (LOCK, PARAMS, REQUIREMENTS, *compared.glob("*.[cj]s*"), *compared.glob("*.svg")):
            copy_file(path, folder / path.name)
        store.client.log_artifacts(run.info.run_id, str(folder))
    return run


def publish_variant(store: Store, results: Results, variant: str, parent: str) -> str:
    """A variant's run id; the run is complete when this returns.

    A variant whose results did not change keeps the run it has, under the parent that published it first; the new
    parent names it in a tag.
    """
    own = {"mlflow.parentRunId": parent, f"{TAG}variant": variant}
    run = find_or_create(store, results.variant_key(variant), variant, provenance(results) | own)
    run_id = run.info.run_id
    if not is_finished(run):
        folders = {stage: ARTIFACTS / stage / variant for stage in CHAIN}
        log_params(store, run, _flat(read_json(folders["train"] / "config.json", f"train@{variant}")))
        log_metrics(store, run, read_json(folders["evaluate"] / "metrics.json", f"evaluate@{variant}"))
        log_metrics(store, run, _compression(folders["compress"]))
        _log_history(store, run, folders["train"] / "history.csv")
        _log_speed(store, run, variant, folders["train"] / "history.csv")
        store.client.log_inputs(run_id, [_dataset(results)])
        with staged() as folder:
            # weights and calibration scores stay with DVC: the exported files hold both
            files = [folders["train"] / name for name in ("config.json", "history.csv", "fit.json")]
            files += [folders["threshold"] / "threshold.json"]
            whole = [folders[stage] for stage in ("evaluate", "export", "compress")]
            files += [path for kept in whole for path in kept.rglob("*") if path.is_file()]
            for path in files:
                stage = path.relative_to(ARTIFACTS).parts[0]
                copy_file(path, folder / stage / path.relative_to(folders[stage]))
            store.client.log_artifacts(run_id, str(folder))
        store.client.set_terminated(run_id, "FINISHED")
    if variant in results.analysed:
        _publish_analysis(store, run, results, variant)
    store.client.set_tag(parent, f"{TAG}run.{variant}", run_id)
    return run_id


def _publish_analysis(store: Store, run: "Run", results: Results, variant: str) -> None:
    """Add what `analyse` found, to a finished run too: an analysis may be asked for long after the training."""
    key, tag = results.analysis_key(variant), f"{TAG}analysis"
    if run.data.tags.get(tag) == key:
        return
    found = ARTIFACTS / "analyse" / variant
    with staged() as folder:
        for path in filter(Path.is_file, found.rglob("*")):
            copy_file(path, folder / "analyse" / path.relative_to(found))
        store.client.log_artifacts(run.info.run_id, str(folder))
    store.client.set_tag(run.info.run_id, tag, key)


def finish_pipeline(store: Store, run_id: str, promotion: dict[str, Any], report: str) -> None:
    """Add what came of it, and end the parent run."""
    store.client.log_dict(run_id, promotion, "promotion.json")
    store.client.log_text(run_id, report, "report.html")
    store.client.set_terminated(run_id, "FINISHED")


def provenance(results: Results) -> dict[str, str]:
    """Where results come from, as tags of runs and versions."""
    return {
        f"{TAG}commit": results.code.commit,
        f"{TAG}dirty": str(results.code.dirty).lower(),
        f"{TAG}dvc_lock": results.lock_digest,
        f"{TAG}data_digest": results.data_digest,
    }


@contextmanager
def staged() -> Iterator[Path]:
    """A folder to assemble an upload in: one call for many files."""
    (WORK / "tmp").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="publish-", dir=WORK / "tmp") as folder:
        yield Path(folder)


def copy_file(source: Path, target: Path) -> None:
    """Copy content only: DVC's files are links and read-only, a copy that kept this could not be written again."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def find_or_create(
    store: Store, key: str, name: str, tags: dict[str, str], source: str = "components.register"
) -> "Run":
    """The run with this key, or a new one; `tags` name its commit, `source` is the act that writes it."""
    found = store.client.search_runs([store.experiment_id], f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
    if found:
        return found[0]
    place = {
        "mlflow.source.name": source,
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": tags[f"{TAG}commit"],
        "mlflow.user": _user(),
        **{f"{TAG}{name}": value for name, value in describe_machine().items()},
    }
    return store.client.create_run(store.experiment_id, tags={**place, **tags, KEY_TAG: key}, run_name=name)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        return "unknown"


def is_finished(run: "Run") -> bool:
    """Whether everything about a run has been written."""
    return run.info.status == "FINISHED"


def log_params(store: Store, run: "Run", values: dict[str, Any]) -> None:
    """Params of a run, as many as there are."""
    from mlflow.entities import Param

    params = [Param(name, str(value)) for name, value in values.items()]
    for start in range(0, len(params), _PARAMS_PER_CALL):
        store.client.log_batch(run.info.run_id, params=params[start : start + _PARAMS_PER_CALL])


def log_metrics(store: Store, run: "Run", values: dict[str, Any]) -> None:
    """Metrics of a run; what is no number is left out."""
    numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
    _log_batches(store, run, [_metric(run, name, value, 0) for name, value in numbers.items()])


def _compression(folder: Path) -> dict[str, Any]:
    table = read_json(folder / "compression.json", f"compress@{folder.name}")
    return {f"compress.{method}.{name}": value for method, row in table.items() for name, value in row.items()}


def _log_history(store: Store, run: "Run", path: Path) -> None:
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    columns = [name for name in rows[0] if name != "epoch"] if rows else []
    _log_batches(store, run, [_metric(run, name, row[name], int(row["epoch"])) for row in rows for name in columns])


def _log_speed(store: Store, run: "Run", variant: str, history: Path) -> None:
    """How fast the training was and on what, where it ran in this checkout and not in the one DVC got it from."""
    try:
        speed = json.loads((SPEED / f"{variant}.json").read_text())
    except FileNotFoundError:
        return
    if speed.pop("history") != hashlib.sha256(history.read_bytes()).hexdigest():
        return  # of another training
    log_metrics(store, run, {f"speed.{name}": value for name, value in speed.items()})
    for name, value in speed.items():
        if isinstance(value, str):
            store.client.set_tag(run.info.run_id, f"{TAG}speed.{name}", value)


def _log_batches(store: Store, run: "Run", metrics: "list[Metric]") -> None:
    for start in range(0, len(metrics), _METRICS_PER_CALL):
        store.client.log_batch(run.info.run_id, metrics=metrics[start : start + _METRICS_PER_CALL])


def _metric(run: "Run", name: str, value: float | str, step: int) -> "Metric":
    from mlflow.entities import Metric

    # the run's own time: logged again after an interruption, it is the same point and not a second one
    return Metric(name, float(value), run.info.start_time, step)


def _dataset(results: Results) -> "DatasetInput":
    from mlflow.entities import Dataset, DatasetInput, InputTag

    manifest = results.manifest
    dataset = Dataset(
        name=manifest.source["name"],
        digest=results.data_digest[:_DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": str(ARTIFACTS / "prepare"), **manifest.source}),
        schema=json.dumps(_schema(manifest)),
        profile=json.dumps({split: sum(counts.values()) for split, counts in manifest.counts.items()}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def _schema(manifest: Manifest) -> dict[str, Any]:
    """In MLflow's words: the raw columns of a table, one array of anything else."""
    if manifest.columns:
        return {"mlflow_colspec": [{"name": c.name, "type": _COLUMN_TYPES[c.kind]} for c in manifest.columns]}
    tensor = {"type": "tensor", "tensor-spec": {"dtype": manifest.dtype, "shape": [-1, *manifest.item_shape]}}
    return {"mlflow_tensorspec": {"features": json.dumps([tensor]), "targets": None}}


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        flat |= _flat(inner, f"{prefix}{name}.") if isinstance(inner, dict) else {f"{prefix}{name}": inner}
    return flat

"""A registered version and scored parts, made by hand: monitoring needs no training."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow.tracking import MlflowClient
from publications import NAME, client, empty_store

from components.data.columns import Column
from components.data.splits import Manifest, Scaling
from components.publishing.reference import REFERENCE
from components.publishing.store import open_store
from components.publishing.version import PROVENANCE
from components.scoring.conformal import Calibration

N, ALPHA, UNITS = 1000, 0.05, 3


def enter(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Make an empty folder with an empty store the working directory."""
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    patch.chdir(folder)
    Path("mlflow.db").write_bytes(empty_store())


def register(seed: int = 0, columns: list[Column] | None = None) -> Calibration:
    """A new version, the champion, whose scores are gamma variables and whose codes are normal ones."""
    generator = np.random.default_rng(seed)
    calibration = Calibration.fit(generator.gamma(4, size=N).astype(np.float32), ALPHA)
    model = Path(f"version-{seed}") / "model"
    (model / REFERENCE).mkdir(parents=True)
    (model / PROVENANCE).mkdir()
    calibration.save(model / REFERENCE)
    (model / REFERENCE / "missing.json").write_text(json.dumps({c.name: 0.1 for c in columns or ()}))
    if not columns:
        np.save(model / REFERENCE / "codes.npy", generator.normal(size=(N, UNITS)).astype(np.float32))
    kind, unused = "table" if columns else "array", ({}, {}, {})
    manifest = Manifest(kind, [UNITS], "float32", [], [], {}, [0, 1], Scaling([0], [1]), *unused, columns or [])
    (model / PROVENANCE / "manifest.json").write_text(json.dumps(manifest.to_json()))
    with open_store(NAME) as store:
        run = store.client.create_run(store.experiment_id)
        store.client.log_artifacts(run.info.run_id, str(model.parent))
    _add_version(client(), run.info.run_id, f"{run.info.artifact_uri}/model")
    return calibration


def _add_version(mlflow: MlflowClient, run_id: str, uri: str) -> None:
    if not mlflow.search_registered_models():
        mlflow.create_registered_model(NAME)
    version = mlflow.create_model_version(NAME, uri, run_id)
    mlflow.set_registered_model_alias(NAME, "champion", version.version)


def write_part(
    path: Path, calibration: Calibration, scores: np.ndarray, codes: np.ndarray | None = None, key: str = ""
) -> None:
    """A part as scoring leaves it, with a key of its content if wanted. Shapes: (record,), (record, unit)."""
    p_values = calibration.p_values(scores).astype(np.float32)
    ids = [f"{path.stem}-{row}" for row in range(len(scores))]
    table = {"id": ids, "score": scores, "p_value": p_values, "is_anomaly": calibration.alarms(scores)}
    if codes is not None:
        table["code"] = pa.array(list(codes), pa.list_(pa.float32()))
    path.parent.mkdir(parents=True, exist_ok=True)
    noted = pa.table(table).replace_schema_metadata({"hourglass": json.dumps({"key": key})} if key else None)
    pq.write_table(noted, path)


def normal(generator: np.random.Generator, records: int, shift: float = 1) -> np.ndarray:
    """Scores like those of calibration, multiplied. (record,) float32."""
    return (shift * generator.gamma(4, size=records)).astype(np.float32)

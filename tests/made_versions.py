"""For tests of scoring and serving: a checkout of nothing but a registry, with versions whose answers NumPy can repeat.

The graph for images compares with one fixed picture, that for arrays with zeros, that for tables with features of
zero: a score is a mean of squares, and nothing is learned.
"""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
from conftest import ROOT
from made_tables import COLUMNS, draw_rows, features_of, write_prepared
from mlflow.tracking import MlflowClient
from onnx import TensorProto, helper
from publications import NAME, client, empty_store

from components.data.columns import CONTRIBUTION
from components.data.splits import SPLITS, Manifest, Scaling
from components.publishing.chosen import Chosen
from components.publishing.reference import REFERENCE, write_reference
from components.publishing.version import SCORER, SCORER_DIGEST, write_model
from components.runtime.outputs import sha256, write_json
from components.scoring.conformal import Calibration

SHAPE = (1, 8, 8)
N = 199
ALLOWED = 10
MEAN = (np.add.outer(np.arange(8), np.arange(8)) / 14).astype(np.float32)[None]
"""What every record is taken for, in scaled units."""
_GRAPH = """<ir_version: 10, opset_import: ["" : 20]>
scorer (uint8[batch, 1, 8, 8] input) => (float[batch, 1, 8, 8] reconstruction, float[batch, 8] code,
    float[batch] score, float[batch] p_value, bool[batch] is_anomaly, float[batch, 1, 8, 8] contributions) {
  raw = Cast <to: int = 1> (input)
  scaled = Mul (raw, factor)
  code = ReduceMean <keepdims: int = 0> (scaled, rows)
  nothing = Mul (scaled, zero)
  reconstruction = Add (nothing, mean)
  error = Sub (scaled, mean)
  squared = Mul (error, error)
  contributions = Div (squared, size)
  score = ReduceSum <keepdims: int = 0> (contributions, axes)
  column = Unsqueeze (score, last)
  reaches = GreaterOrEqual (calibration, column)
  counted = Cast <to: int = 1> (reaches)
  reaching = ReduceSum <keepdims: int = 0> (counted, last)
  more = Add (reaching, one)
  p_value = Div (more, levels)
  is_anomaly = Less (reaching, allowed)
}"""


def image_manifest(digests: dict[str, str] | None = None) -> Manifest:
    """Of the image model."""
    counts, source = {split: {"unlabelled": 4} for split in SPLITS}, {"name": "made", "version": "1"}
    return Manifest(
        "image", list(SHAPE), "uint8", [], [], counts, [0, 255], Scaling([0.0], [255.0]), digests or {}, source, {}
    )


def draw(count: int, seed: int, strange: int = 0) -> np.ndarray:
    """Images (count, 1, 8, 8) uint8 near the picture; the first `strange` of them are noise."""
    generator = np.random.default_rng(seed)
    near = MEAN * 255 + generator.normal(0, 12, (count, *SHAPE))
    near[:strange] = generator.integers(0, 256, (strange, *SHAPE))
    return near.clip(0, 255).astype(np.uint8)


def scores_of(images: np.ndarray) -> np.ndarray:
    """Scores by NumPy (record,) float64."""
    return np.square(images / 255 - MEAN).mean((1, 2, 3))


def codes_of(images: np.ndarray) -> np.ndarray:
    """Codes by NumPy, the mean of each column of pixels (record, 8) float64."""
    return (images / 255).mean((1, 2))


def calibration(loosened: float = 1) -> np.ndarray:
    """The calibration scores of the image model, ascending (N,) float32; below 1, it alarms more than it promises."""
    return np.sort(scores_of(draw(N, 77)) * loosened).astype(np.float32)


def write_images_scorer(path: Path, loosened: float = 1) -> None:
    """Its graph."""
    _write_scorer(path, _GRAPH, 1 / 255, MEAN, calibration(loosened))


def _write_scorer(path: Path, graph: str, factor: float, mean: np.ndarray, scores: np.ndarray) -> None:
    numbers = {"factor": factor, "zero": 0, "mean": mean, "size": mean.size, "calibration": scores, "one": 1,
               "levels": N + 1, "allowed": ALLOWED}  # fmt: skip
    tensors = {name: np.asarray(value, np.float32) for name, value in numbers.items()}
    tensors |= {"axes": np.arange(1, mean.ndim + 1), "rows": np.array([1, 2]), "last": np.array([1])}
    model = onnx.parser.parse_model(graph)
    used = {name: array for name, array in tensors.items() if name in graph}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in used.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def make_images(artifacts: Path, records: int = 4, loosened: float = 1) -> str:
    """What publishing needs of the image model, with so many records in each split; returns its variant."""
    (artifacts / "prepare").mkdir(parents=True, exist_ok=True)
    for seed, split in enumerate(SPLITS):
        np.save(artifacts / f"prepare/{split}.npy", draw(records, seed))
    train = artifacts / "prepare/train.npy"
    write_json(artifacts / "prepare/manifest.json", image_manifest({train.name: sha256(train)}).to_json())
    write_json(artifacts / "prepare/validation.json", {"missing": {}})
    write_images_scorer(artifacts / "export/pictures/scorer.onnx", loosened)
    write_calibration(artifacts / "threshold/pictures", calibration(loosened))
    return "pictures"


def make_numbers(artifacts: Path) -> str:
    """What publishing needs of a model for rows of four numbers; returns its variant."""
    (artifacts / "prepare").mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        np.save(artifacts / f"prepare/{split}.npy", np.eye(4, dtype=np.float32))
    manifest = replace(image_manifest(), kind="array", item_shape=[4], dtype="float32", value_range=[-9, 9])
    write_json(artifacts / "prepare/manifest.json", manifest.to_json())
    drawn = np.random.default_rng(79).normal(0, 1, (N, 4))
    scores = np.sort(np.square(drawn).mean(1)).astype(np.float32)
    write_json(artifacts / "prepare/validation.json", {"missing": {}})
    graph = _GRAPH.replace("uint8[", "float[").replace("batch, 1, 8, 8]", "batch, 4]").replace("batch, 8]", "batch, 4]")
    graph = graph.replace("ReduceMean <keepdims: int = 0> (scaled, rows)", "Identity (scaled)")
    _write_scorer(artifacts / "export/numbers/scorer.onnx", graph, 1, np.zeros(4), scores)
    write_calibration(artifacts / "threshold/numbers", scores)
    return "numbers"


def write_calibration(folder: Path, scores: np.ndarray) -> None:
    """What the stage threshold leaves."""
    folder.mkdir(parents=True)
    Calibration.fit(scores, ALLOWED / (N + 1)).save(folder)


def make_rows(artifacts: Path) -> str:
    """What publishing needs of a model for the rows of `made_tables`; returns its variant."""
    write_prepared(artifacts / "prepare", rows=4)
    graph = onnx.load(artifacts / "prepare/preprocess.onnx")
    graph.graph.node.extend(_judging_nodes())
    constants = {"nine": 9, "calibration": np.sort(row_scores(draw_rows(N, 78))), "full": 1, "levels": N + 1,
                 "allowed": ALLOWED}  # fmt: skip
    tensors = {name: np.asarray(value, np.float32) for name, value in constants.items()}
    bounds = {f"{column.name}.{end}": [getattr(column, end)] for column in COLUMNS for end in ("start", "stop")}
    tensors |= {name: np.array(value) for name, value in bounds.items()}
    graph.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in tensors.items())
    del graph.graph.output[:]
    kinds = {"score": TensorProto.FLOAT, "p_value": TensorProto.FLOAT, "is_anomaly": TensorProto.BOOL}
    kinds |= {f"{CONTRIBUTION}{column.name}": TensorProto.FLOAT for column in COLUMNS}
    graph.graph.output.extend(helper.make_tensor_value_info(name, kind, ["batch"]) for name, kind in kinds.items())
    path = artifacts / "export/rows/scorer.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(graph, path)
    write_calibration(artifacts / "threshold/rows", row_scores(draw_rows(N, 78)))
    return "rows"


def _judging_nodes() -> Iterator[onnx.NodeProto]:
    """From features to everything a caller decides by."""
    node = helper.make_node
    yield node("Identity", ["features"], ["code"])
    yield node("Mul", ["code", "code"], ["squared"])
    yield node("Div", ["squared", "nine"], ["parts"])
    yield node("ReduceSum", ["parts", "one"], ["score"], keepdims=0)
    for column in COLUMNS:
        bounds = [f"{column.name}.start", f"{column.name}.stop"]
        yield node("Slice", ["parts", *bounds, "one"], [f"{column.name}.parts"])
        yield node("ReduceSum", [f"{column.name}.parts", "one"], [f"{CONTRIBUTION}{column.name}"], keepdims=0)
    yield node("Unsqueeze", ["score", "one"], ["each"])
    yield node("GreaterOrEqual", ["calibration", "each"], ["reaches"])
    yield node("Cast", ["reaches"], ["counted"], to=TensorProto.FLOAT)
    yield node("ReduceSum", ["counted", "one"], ["reaching"], keepdims=0)
    yield node("Add", ["reaching", "full"], ["more"])
    yield node("Div", ["more", "levels"], ["p_value"])
    yield node("Less", ["reaching", "allowed"], ["is_anomaly"])


def row_scores(rows: pd.DataFrame) -> np.ndarray:
    """Scores of canonical rows by NumPy (row,) float64."""
    return np.square(features_of(rows)).mean(1)


def enter_registry(root: Path) -> None:
    """Make a registry of the working directory, which is `root`."""
    shutil.copy2(ROOT / "params.yaml", root)
    for name in ("components", "flows"):
        (root / name).symlink_to(ROOT / name)
    for name in ("dvc.lock", "requirements.lock"):
        (root / name).write_text("")
    (root / "mlflow.db").write_bytes(empty_store())


def register(variant: str, name: str = NAME, leads: bool = True) -> str:
    """Register a variant that lies in artifacts/, as publishing does, as champion if it leads; returns the number."""
    store: MlflowClient = client()
    known = {model.name for model in store.search_registered_models()}
    if name not in known:
        store.create_registered_model(name)
        place = (Path("mlartifacts") / name).resolve().as_uri()
        store.create_experiment(name, artifact_location=place)
    run = store.create_run(store.get_experiment_by_name(name).experiment_id)
    write_model(Path("staged/model"), Chosen(variant))
    write_reference(Path("staged/model") / REFERENCE, Chosen(variant))
    tags = {SCORER_DIGEST: sha256(Path("staged/model") / SCORER)}
    store.log_artifacts(run.info.run_id, "staged")
    shutil.rmtree("staged")
    version = store.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id, tags=tags)
    if leads:
        store.set_registered_model_alias(name, "champion", version.version)
    return str(version.version)

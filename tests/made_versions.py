"""For tests of batch scoring: a checkout of nothing but a registry, with versions whose answers NumPy can repeat.

The graph for images compares with one fixed picture, so a score is a mean of squares and nothing is learned.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from conftest import ROOT
from mlflow.tracking import MlflowClient
from publications import NAME, client, empty_store

from components.data.splits import SPLITS, Manifest, Scaling
from components.publishing.version import CALIBRATION_N, SCORER_DIGEST, write_model
from components.runtime.outputs import sha256, write_json

SHAPE = (1, 8, 8)
N = 199
ALLOWED = 10
MEAN = (np.add.outer(np.arange(8), np.arange(8)) / 14).astype(np.float32)[None]
"""What every record is taken for, in scaled units."""
IMAGES = Manifest(
    "image", list(SHAPE), "uint8", [], [], {split: {"unlabelled": 4} for split in SPLITS}, [0, 255],
    Scaling([0.0], [255.0]), {}, {"name": "made", "version": "1"}, {},
)  # fmt: skip
_GRAPH = """<ir_version: 10, opset_import: ["" : 20]>
scorer (TYPE[batch, 1, 8, 8] input) => (float[batch, 1, 8, 8] reconstruction, float[batch] score,
    float[batch] p_value, bool[batch] is_anomaly, float[batch, 1, 8, 8] contributions) {
  raw = Cast <to: int = 1> (input)
  scaled = Mul (raw, factor)
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


def draw(count: int, seed: int, strange: int = 0) -> np.ndarray:
    """Images (count, 1, 8, 8) uint8 near the picture; the first `strange` of them are noise."""
    generator = np.random.default_rng(seed)
    near = MEAN * 255 + generator.normal(0, 12, (count, *SHAPE))
    near[:strange] = generator.integers(0, 256, (strange, *SHAPE))
    return near.clip(0, 255).astype(np.uint8)


def scores_of(images: np.ndarray) -> np.ndarray:
    """Scores by NumPy (record,) float64."""
    return np.square(images / 255 - MEAN).mean((1, 2, 3))


def calibration() -> np.ndarray:
    """The calibration scores of the image model, ascending (N,) float32."""
    return np.sort(scores_of(draw(N, 77))).astype(np.float32)


def write_images_scorer(path: Path) -> None:
    """Its graph."""
    numbers = {"factor": 1 / 255, "zero": 0, "mean": MEAN, "size": 64, "calibration": calibration(), "one": 1,
               "levels": N + 1, "allowed": ALLOWED}  # fmt: skip
    tensors = {name: np.asarray(value, np.float32) for name, value in numbers.items()}
    tensors |= {"axes": np.array([1, 2, 3]), "last": np.array([1])}
    model = onnx.parser.parse_model(_GRAPH.replace("TYPE", "uint8"))
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in tensors.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def make_images(artifacts: Path, **changed: object) -> Path:
    """What publishing needs of an image model; returns its scorer."""
    manifest = replace(IMAGES, **changed)
    (artifacts / "prepare").mkdir(parents=True, exist_ok=True)
    for seed, split in enumerate(SPLITS):
        np.save(artifacts / f"prepare/{split}.npy", draw(4, seed))
    write_json(artifacts / "prepare/manifest.json", manifest.to_json())
    write_images_scorer(artifacts / "export/v/scorer.onnx")
    return artifacts / "export/v/scorer.onnx"


def enter_registry(root: Path) -> None:
    """Make a registry of the working directory, which is `root`."""
    shutil.copy2(ROOT / "params.yaml", root)
    for name in ("components", "flows"):
        (root / name).symlink_to(ROOT / name)
    for name in ("dvc.lock", "requirements.lock"):
        (root / name).write_text("")
    (root / "mlflow.db").write_bytes(empty_store())


def register(scorer: Path, n: int, name: str = NAME) -> str:
    """Register what lies in artifacts/ with this graph, as publishing does, as champion; returns the number."""
    store: MlflowClient = client()
    known = {model.name for model in store.search_registered_models()}
    if name not in known:
        store.create_registered_model(name)
        place = (Path("mlartifacts") / name).resolve().as_uri()
        store.create_experiment(name, artifact_location=place)
    run = store.create_run(store.get_experiment_by_name(name).experiment_id)
    write_model(Path("staged/model"), scorer)
    store.log_artifacts(run.info.run_id, "staged")
    shutil.rmtree("staged")
    tags = {SCORER_DIGEST: sha256(scorer), CALIBRATION_N: str(n)}
    version = store.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id, tags=tags)
    store.set_registered_model_alias(name, "champion", version.version)
    return str(version.version)

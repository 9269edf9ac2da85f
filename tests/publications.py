"""For tests of publishing: checkouts with a winner of known quality, and a look at what MLflow holds afterwards."""

import functools
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import mlflow
import numpy as np
import onnx
import pytest
from mlflow.tracking import MlflowClient
from ruamel.yaml import YAML

from components.params import read_params
from components.publishing import moves
from components.publishing.dvc_lock import dvc_md5, look_up
from components.publishing.store import Store

NAME = "hourglass"
WINNER = "vanilla"
SCORER = Path("artifacts/export") / WINNER / "scorer.onnx"
BOARD = Path("artifacts/compare/leaderboard.json")
# MLflow's own affairs: its use of SQLAlchemy, and a type hint of one of its own classes
MLFLOWS_OWN = ("ignore::DeprecationWarning:mlflow", "ignore:.*Any type hint is inferred:UserWarning")

_GRAPH = """<ir_version: 10, opset_import: ["" : 20]>
scorer (uint8[batch, 1, 8, 8] input) => (float[batch, 1, 8, 8] reconstruction, float[batch, K] code,
                                         float[batch] score, float[batch] p_value, bool[batch] is_anomaly) {
  raw = Cast <to: int = 1> (input)
  scaled = Div (raw, scale)
  flat = Reshape (scaled, row)
  centred = Sub (flat, mean)
  code = MatMul (centred, encoder)
  back = MatMul (code, decoder)
  x_hat = Add (back, mean)
  reconstruction = Reshape (x_hat, image)
  error = Sub (flat, x_hat)
  squared = Mul (error, error)
  score = ReduceMean <keepdims: int = 0> (squared, axis)
  p_value = Sub (one, score)
  is_anomaly = Greater (score, limit)
}"""


def write_scorer(size: int, path: Path = SCORER, scale: int = 16) -> Path:
    """A scorer for digits: PCA with `size` components, so that a larger one reconstructs better.

    Another `scale` gives the same model in other units.
    """
    train = np.load("artifacts/prepare/train.npy").reshape(-1, 64) / scale
    axes = np.linalg.svd(train - train.mean(0), full_matrices=False)[2][:size].T
    values = {"scale": scale, "mean": train.mean(0), "encoder": axes, "decoder": axes.T, "one": 1, "limit": 0.02}
    tensors = {name: np.asarray(value, np.float32) for name, value in values.items()}
    tensors |= {"row": np.array([-1, 64]), "image": np.array([-1, 1, 8, 8]), "axis": np.array([1])}
    model = onnx.parser.parse_model(_GRAPH.replace("K]", f"{size}]"))
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in tensors.items())
    path.unlink(missing_ok=True)  # it may be a link to DVC's cache
    onnx.save(model, path)
    return path


def win(size: int, **board: object) -> None:
    """Let the winner have a scorer of this quality, and the leaderboard say what is given."""
    write_scorer(size)
    rewrite(BOARD, winner=WINNER, export=str(SCORER.parent), **{"eligible": True, "reasons": [], **board})
    relock()


def rewrite(path: Path, **values: object) -> None:
    """Change some keys of a JSON artifact."""
    text = json.dumps({**json.loads(path.read_text()), **values})
    path.unlink()
    path.write_text(text)


def relock() -> None:
    """Bring dvc.lock in line with changed files and params, as `dvc commit` would."""
    lock, params = YAML(typ="safe").load(Path("dvc.lock").read_text()), read_params()
    for stage in lock["stages"].values():
        known = stage.get("params", {}).get("params.yaml", {})
        known.update({key: look_up(params, key) for key in known})
        for entry in (*stage.get("deps", ()), *stage["outs"]):
            entry["md5"] = dvc_md5(Path(entry["path"]))
    with Path("dvc.lock").open("w") as stream:
        YAML(typ="safe").dump(lock, stream)


@functools.cache
def empty_store() -> bytes:
    """A SQLite store without records; making one takes seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mlflow.db"
        MlflowClient(f"sqlite:///{path}").search_experiments()
        return path.read_bytes()


def enter(root: Path, patch: pytest.MonkeyPatch) -> Path:
    """Make a finished checkout the working directory, with a good winner and nothing published."""
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        patch.delenv(variable, raising=False)
    patch.chdir(root)
    Path("mlflow.db").write_bytes(empty_store())
    win(12)
    return root


def client() -> MlflowClient:
    """The store of the checkout that is the working directory."""
    return MlflowClient(f"sqlite:///{Path('mlflow.db').resolve()}")


def runs() -> dict[str, mlflow.entities.Run]:
    """All runs by name, each name once."""
    found = client().search_runs([client().get_experiment_by_name(NAME).experiment_id])
    assert len({run.info.run_name for run in found}) == len(found)
    return {run.info.run_name: run for run in found}


def artifacts(run: mlflow.entities.Run) -> set[str]:
    """Names of a run's files."""
    root = Path(run.info.artifact_uri.removeprefix("file://"))
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def aliases() -> dict[str, str]:
    """Alias, then version."""
    return {alias: str(number) for alias, number in client().get_registered_model(NAME).aliases.items()}


def everything() -> dict[str, object]:
    """All that a publication leaves, without ids and times."""
    state: dict[str, object] = {"aliases": aliases()}
    for name, entry in runs().items():
        history = {m: len(client().get_metric_history(entry.info.run_id, m)) for m in entry.data.metrics}
        inputs = [used.dataset.digest for used in entry.inputs.dataset_inputs]
        state[name] = (entry.info.status, entry.data.params, entry.data.metrics, history, inputs)
        state[f"{name} has"] = (set(entry.data.tags), artifacts(entry))
    state["moves"] = [asdict(entry.move) for entry in moves.history(Store(client(), NAME))]
    for version in client().search_model_versions(f"name = '{NAME}'"):
        state[f"version {version.version}"] = (version.status, set(version.tags), version.description)
    return state


class Killed(BaseException):
    """Stands for kill -9: no handler of ours catches it."""


def killing(calls: int, patch: pytest.MonkeyPatch) -> None:
    """Let MLflow's client die in its n-th writing call, half of the time after the call was carried out."""
    left = iter(range(calls, 0, -1))

    def wrap(name: str) -> None:
        real: Callable = getattr(MlflowClient, name)

        def dying(*args: object, **kwargs: object) -> object:
            last = next(left, 0) == 1
            if last and calls % 2:
                raise Killed
            result = real(*args, **kwargs)
            if last:
                raise Killed
            return result

        patch.setattr(MlflowClient, name, dying)

    for name in dir(MlflowClient):
        if name.startswith(("create_", "log_", "set_", "delete_")):
            wrap(name)

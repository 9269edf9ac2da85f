"""The registered model: it answers exactly like its graph, in Python and as a server, and nothing about it is inferred.

References: onnxruntime on scorer.onnx, thresholds fitted at the alpha of a request.
"""

import json
import subprocess
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import onnxruntime
import pytest
from publications import MLFLOWS_OWN, SCORER, WINNER
from serving import ask, serving

from components.publishing.version import write_model
from components.scoring.conformal import Calibration

pytestmark = [pytest.mark.filterwarnings(warning) for warning in MLFLOWS_OWN]


@pytest.fixture(scope="module")
def saved(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The winner of the finished checkout as an MLflow model; it is written without any other process."""
    folder = tmp_path_factory.mktemp("saved")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # leftovers would land here; the finished checkout is read only
        for name in ("artifacts", "dvc.lock", "params.yaml", "requirements.lock"):
            Path(name).symlink_to(finished / name)
        patch.setattr(subprocess, "Popen", _Forbidden)
        write_model(folder / "model", WINNER)
    return folder / "model"


class _Forbidden:
    """Stands for the processes (uv, pip, a second Python) in which MLflow would find out requirements."""

    def __init__(self, *args: object, **_: object) -> None:
        raise AssertionError(f"started {args}")


@pytest.fixture
def records(finished: Path) -> np.ndarray:
    return np.array(np.load(finished / "artifacts/prepare/test.npy")[:7])


@pytest.fixture
def expected(finished: Path, records: np.ndarray) -> dict[str, np.ndarray]:
    """What the graph itself says about the records."""
    session = onnxruntime.InferenceSession(finished / SCORER)
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, {"input": records}), strict=True))


def test_requirements_signature_and_example_are_given(saved: Path) -> None:
    pins = (saved / "requirements.txt").read_text().split()
    assert [pin.partition("==")[0] for pin in pins] == ["mlflow", "numpy", "onnxruntime", "pandas"]
    assert f"onnxruntime=={onnxruntime.__version__}" in pins
    model = mlflow.models.Model.load(saved)
    (records,) = model.signature.inputs.inputs
    assert (records.name, records.type, records.shape) == (None, np.dtype(np.uint8), (-1, 1, 8, 8))
    assert {param.name: param.default for param in model.signature.params}["alpha"] == 0.05
    outputs = {output.name: output.shape for output in model.signature.outputs.inputs}
    assert {
        "score": (-1,),
        "p_value": (-1,),
        "is_anomaly": (-1,),
        "reconstruction": (-1, 1, 8, 8),
    }.items() <= outputs.items()
    assert np.shape(json.loads((saved / "serving_input_example.json").read_text())["inputs"]) == (2, 1, 8, 8)
    assert "components" not in (saved / "served_model.py").read_text()


def test_it_answers_like_its_graph(saved: Path, records: np.ndarray, expected: dict[str, np.ndarray]) -> None:
    model = mlflow.pyfunc.load_model(saved)
    answer = model.predict(records)
    assert list(answer) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(answer[name], values)
        assert model.predict(records[:0])[name].shape == (0, *values.shape[1:])
    many = model.predict(np.tile(records, (1000, 1, 1, 1)), {"outputs": ["score"]})
    assert list(many) == ["score"]
    np.testing.assert_allclose(many["score"], np.tile(expected["score"], 1000), rtol=1e-5)


def test_alpha_moves_the_alarms_as_a_new_threshold_would(saved: Path, finished: Path) -> None:
    model = mlflow.pyfunc.load_model(saved)
    records = np.array(np.load(finished / "artifacts/prepare/test.npy"))
    fitted = Calibration.load(finished / "artifacts/threshold/vanilla")
    usual = model.predict(records)
    np.testing.assert_array_equal(usual["is_anomaly"], fitted.alarms(usual["score"]))
    shares = []
    for alpha in (1 / (fitted.n + 1), 0.005, 0.05, 0.0501, 1 / 3, 0.5, 0.999):
        answer = model.predict(records, {"outputs": ["is_anomaly"], "alpha": alpha})
        assert list(answer) == ["is_anomaly"]
        anew = Calibration.fit(fitted.scores, alpha)
        np.testing.assert_array_equal(answer["is_anomaly"], anew.alarms(usual["score"]))
        shares.append(answer["is_anomaly"].mean())
    assert sorted(shares) == shares and shares[0] < shares[2] < shares[-1]
    for alpha in (0.9 / (fitted.n + 1), 0, 1, np.nan):
        with pytest.raises(mlflow.MlflowException, match=r"alpha: must be below 1 and at least 0\.00\d+, the least"):
            model.predict(records[:1], {"alpha": alpha})


def test_a_wrong_request_is_told_what_is_right(saved: Path, records: np.ndarray) -> None:
    model = mlflow.pyfunc.load_model(saved)
    with pytest.raises(mlflow.MlflowException, match="outputs: unknown scores; known: reconstruction, code, score"):
        model.predict(records, {"outputs": ["scores"]})
    with pytest.raises(mlflow.MlflowException, match="dtype of input int64 does not match expected dtype uint8"):
        model.predict(records.astype(np.int64))
    with pytest.raises(mlflow.MlflowException, match="does not match expected shape"):
        model.predict(records[:, :, :7])


@pytest.fixture
def server(saved: Path, tmp_path: Path) -> Iterator[str]:
    """Address of `mlflow models serve` with this model."""
    with serving(saved, tmp_path / "server.log") as url:
        yield url


def test_it_is_served(server: str, records: np.ndarray, expected: dict[str, np.ndarray]) -> None:
    answer = ask(server, {"inputs": records.tolist()})
    assert {name: np.shape(values) for name, values in answer.items()} == {n: v.shape for n, v in expected.items()}
    np.testing.assert_allclose(answer["score"], expected["score"], rtol=1e-5)
    assert answer["is_anomaly"] == expected["is_anomaly"].tolist()
    assert list(ask(server, {"instances": records.tolist(), "params": {"outputs": ["score"]}})) == ["score"]
    moved = {"params": {"outputs": ["p_value", "is_anomaly"], "alpha": 0.3}}
    answer = ask(server, {"inputs": records.tolist(), **moved})
    assert answer["is_anomaly"] == [p <= 0.3 for p in answer["p_value"]]
    with pytest.raises(urllib.error.HTTPError, match="400"):
        ask(server, {"inputs": [[[["dark"]]]]})

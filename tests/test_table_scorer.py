"""A table's exported scorer takes raw columns and answers what the torch model answers to their features.

References: features and contributions by NumPy, the torch model, a second process.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from conftest import ROOT, must
from fabricated import by_squared_error
from made_tables import COLUMNS, draw_rows, features_of, make_artifacts, write_preprocess

from components.data.columns import Column
from components.data.item import Item
from components.data.splits import Manifest, Scaling, load_manifest
from components.export import export
from components.exporting import onnx_files
from components.exporting.comparison import Comparison, Peaks
from components.exporting.scorer import OUTPUTS
from components.exporting.table_intake import TableIntake
from components.models import find
from components.params.export import Params
from components.preparing.plans import plan
from components.preparing.preprocess import convert, fit_transformer
from components.runtime.errors import UserError
from components.runtime.outputs import write_json
from components.scoring.conformal import Calibration
from components.training.weights import load_model

NAMES = [column.name for column in COLUMNS]


@pytest.fixture(scope="module", params=["vanilla", "pca"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """artifacts/ with one exported variant."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("table")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        make_artifacts(root / "artifacts", request.param)
        assert export("v", Params(), threads=1, artifacts=root / "artifacts")["passed"]
    return root / "artifacts"


def feed(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    return {name: rows[name].to_numpy(object if rows[name].dtype == "str" else np.float32) for name in NAMES}


def answer(exported: Path, rows: pd.DataFrame, name: str = "scorer.onnx") -> dict[str, np.ndarray]:
    session = onnx_files.open_session(exported / "export/v" / name, 1)
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feed(rows)), strict=True))


def test_the_hand_made_graph_is_what_numpy_says(exported: Path) -> None:
    rows = draw_rows(40, 9)
    session = onnx_files.open_session(exported / "prepare/preprocess.onnx", 1)
    np.testing.assert_allclose(session.run(None, feed(rows))[0], features_of(rows), rtol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_raw_columns_get_the_answers_of_their_features(exported: Path, size: int) -> None:
    rows = draw_rows(size, 11)
    features, model = torch.from_numpy(features_of(rows)), load_model(exported / "train/v")
    with torch.no_grad():
        x_hat, code = model(features)
    squared = np.square(x_hat.numpy() - features.numpy())
    found = answer(exported, rows)
    assert list(found) == ["score", "p_value", "is_anomaly", *(f"contribution.{name}" for name in NAMES)]
    assert {value.shape for value in found.values()} == {(size,)}
    np.testing.assert_allclose(found["score"], squared.mean(1), rtol=1e-4)
    for column in COLUMNS:
        part = squared[:, column.start : column.stop].sum(1) / 9
        np.testing.assert_allclose(found[f"contribution.{column.name}"], part, rtol=1e-4, atol=1e-7)
    total = sum(found[f"contribution.{name}"].astype(np.float64) for name in NAMES)
    np.testing.assert_allclose(total, found["score"], rtol=1e-5)
    calibration = Calibration.load(exported / "threshold/v")
    np.testing.assert_array_equal(found["is_anomaly"], calibration.alarms(found["score"]))
    np.testing.assert_array_equal(found["p_value"], calibration.p_values(found["score"]).astype(np.float32))
    np.testing.assert_allclose(answer(exported, rows, "encoder.onnx")["code"], code, rtol=1e-4, atol=1e-5)
    rebuilt = answer(exported, rows, "reconstructor.onnx")["reconstruction"]
    np.testing.assert_allclose(rebuilt, x_hat, rtol=1e-4, atol=1e-5)


def test_unseen_levels_and_missing_cells_are_answered_and_an_overflow_stays_in_its_column(exported: Path) -> None:
    rows = draw_rows(4, 12)
    rows.loc[0, "city"], rows.loc[1, "city"] = "Atlantis", "Rome"
    rows.loc[[0, 1], ["age", "since", "member"]] = rows.loc[2, ["age", "since", "member"]].to_list()
    rows.loc[3, ["age", "since"]], rows.loc[3, ["member", "city"]] = np.nan, ""
    found = answer(exported, rows)
    assert found["score"][0] == found["score"][1]  # neither is a level, both are "(other)"
    assert all(np.isfinite(values).all() for values in found.values())
    rows.loc[0, "age"] = 1e30
    broken = answer(exported, rows)
    assert broken["is_anomaly"][0] and not np.isfinite(broken["contribution.age"][0])


def test_one_overflow_does_not_hide_the_other_columns() -> None:
    torch.set_num_threads(1)
    columns = [Column("a", "numeric", 0, 1, []), Column("b", "numeric", 1, 3, [])]
    manifest = Manifest("table", [3], "float32", [], [], {}, [0, 1], Scaling([0.0], [1.0]), {}, {}, {}, columns)
    entry = find("pca")
    network = entry.build(Item((3,), False), entry.params(latent_dim=1), "mse")  # not fitted: rebuilds zeros
    scorer = TableIntake(
        manifest, Path(), by_squared_error(network), Calibration.fit(np.arange(40, dtype=np.float32), 0.1)
    ).scorer
    found = scorer(torch.tensor([[1e30, 3.0, 0.0], [1.0, 1.0, 1.0]]))[-1]
    np.testing.assert_allclose(found, [[np.inf, 3.0], [1 / 3, 2 / 3]])


def test_another_process_writes_the_same_graphs(exported: Path, tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from components.export import export; "
    script += "from components.params.export import Params; export('v', Params(), 1, Path(sys.argv[1]))"
    for stage in ("prepare", "train", "threshold", "evaluate"):
        (tmp_path / stage).symlink_to(exported / stage)
    must(sys.executable, "-c", script, str(tmp_path), cwd=tmp_path, PYTHONPATH=str(ROOT), PYTHONHASHSEED="2")
    for name in ("scorer.onnx", "encoder.onnx", "reconstructor.onnx"):
        first = (exported / "export/v" / name).read_bytes()
        assert first == (tmp_path / "export/v" / name).read_bytes(), name
        assert str(exported.parent).encode() not in first


def test_the_cards_lines_run(exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    card = (exported / "export/v/card.md").read_text()
    assert "| `since` | (batch,) | float32 | date: days since 2020-01-01; NaN where missing |" in card
    assert "model.torchscript.pt takes the 9 features" in card
    assert hashlib.sha256((exported / "export/v/scorer.onnx").read_bytes()).hexdigest() in card
    monkeypatch.chdir(exported / "export/v")
    exec(card.partition("```python\n")[2].partition("```")[0], {})  # noqa: S102 - the reader will do the same
    assert "contribution.city" in capsys.readouterr().out


def test_a_proof_of_tables_fails_when_one_contribution_is_off(exported: Path) -> None:
    calibration = Calibration.load(exported / "threshold/v")
    expected = {"contributions": np.array([[0.5, 0.25], [0.1, 0.2]], np.float32)}
    comparison = Comparison(calibration, peaks := Peaks())
    peaks.add(expected)
    comparison.add({"contributions": expected["contributions"] + np.float32([0, 0.01])}, expected)
    assert comparison.faults() == ["contributions differs by up to 0.01"]


def test_mistakes_are_named(exported: Path, tmp_path: Path) -> None:
    manifest, model = load_manifest(exported / "prepare"), load_model(exported / "train/v")
    calibration = Calibration.load(exported / "threshold/v")
    with pytest.raises(UserError, match=r"preprocess\.onnx: is missing; run `dvc repro prepare` first"):
        TableIntake(manifest, tmp_path, by_squared_error(model), calibration).graphs(20)
    write_preprocess(tmp_path / "preprocess.onnx")
    with pytest.raises(UserError, match=r"export\.opset: is 18, and preprocess\.onnx is written for 20; set export"):
        TableIntake(manifest, tmp_path, by_squared_error(model), calibration).graphs(18)


@pytest.mark.parametrize("name", [*OUTPUTS, "contributions", "contribution.age", "features"])
def test_prepare_refuses_a_column_with_the_name_of_an_output(name: str) -> None:
    plans = [plan(pd.Series(["1", "2", "4"], name=name, dtype="str"), "numeric", 1)]
    with pytest.raises(UserError, match=f"column '{name}' has a name that the exported files need themselves; rename"):
        convert(plans, fit_transformer(plans, {name: np.float32([1, 2, 4])}, "standard"))


def test_two_hundred_columns_export(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    columns = [Column(f"c{i}", "numeric", i, i + 1, []) for i in range(200)]
    manifest = Manifest("table", [200], "float32", [], [], {}, [0, 1], Scaling([0.0], [1.0]), {}, {}, {}, columns)
    write_json(tmp_path / "manifest.json", manifest.to_json())
    write_preprocess(tmp_path / "preprocess.onnx", columns)
    entry = find("vanilla")
    network = entry.build(Item((200,), False), entry.params(latent_dim=8), "mse")
    calibration = Calibration.fit(np.arange(40, dtype=np.float32), 0.1)
    graphs = TableIntake(load_manifest(tmp_path), tmp_path, by_squared_error(network), calibration).graphs(20)
    assert len(graphs["scorer.onnx"].graph.input) == 200 and len(graphs["scorer.onnx"].graph.output) == 203
    onnx.checker.check_model(graphs["scorer.onnx"], full_check=True)

"""Exported files equal the model they were made from, and are the same bytes wherever they are made.

References: the torch model on every record, the scores of evaluate, a second process in another folder.
"""

import csv
import hashlib
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import made_tables
import numpy as np
import onnx
import pytest
import torch
from conftest import must
from fabricated import by_squared_error

from components import models
from components.data.rows import read_rows
from components.data.scaling import Scale
from components.data.splits import SPLITS, Manifest, Scaling, load_manifest
from components.export import export
from components.exporting import onnx_files, parity
from components.exporting.scorer import OUTPUTS
from components.exporting.torchscript_files import ALIGNMENT, load_torchscript
from components.models import Blueprint
from components.params.export import Params
from components.runtime.errors import UserError
from components.runtime.outputs import write_json
from components.scoring.conformal import Calibration
from components.scoring.score import score_records
from components.training.weights import load_model, save_weights

ROOT = Path(__file__).parent.parent
SHAPES = {"image": (1, 7, 6), "array": (6,)}
GRAPHS = ("scorer.onnx", "encoder.onnx", "reconstructor.onnx")
EXPORTS = {*GRAPHS, "model.torchscript.pt", "parity.json", "card.md"}


def make_manifest(kind: str, shape: tuple[int, ...], records: int) -> Manifest:
    scaling = Scaling([0.0], [16.0]) if kind == "image" else Scaling([5.0] * shape[0], [3.0] * shape[0])
    counts = {split: {"good": records, "bad": 0} for split in SPLITS}
    dtype, source = ("uint8" if kind == "image" else "float32"), {"name": "synthetic", "version": "1"}
    return Manifest(kind, list(shape), dtype, ["good", "bad"], ["good"], counts, [0, 16], scaling, {}, source, {})  # type: ignore[arg-type]


def draw(kind: str, shape: tuple[int, ...], records: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    if kind == "image":
        return generator.integers(0, 17, (records, *shape), dtype=np.uint8)
    return generator.normal(5, 3, (records, *shape)).astype(np.float32)


def make_artifacts(
    root: Path, model: str, kind: str, base: str | None = None, latent_dim: int = 3, **options: Any
) -> Path:
    """What earlier stages leave for a variant named `v`, with weights that are random instead of trained."""
    artifacts, shape = root / "artifacts", SHAPES[kind]
    for folder in ("prepare", "train/v", "threshold/v", "evaluate/v"):
        (artifacts / folder).mkdir(parents=True)
    records, manifest = draw(kind, shape, 150, seed=1), make_manifest(kind, shape, 150)
    np.save(artifacts / "prepare/test.npy", records)
    write_json(artifacts / "prepare/manifest.json", manifest.to_json())
    sizes = {"latent_dim": latent_dim, **options}
    loss = "bce" if kind == "image" else "mse"
    blueprint = Blueprint(model, sizes, base, sizes if base else None, manifest.item, loss)
    torch.manual_seed(5)
    network, scale = blueprint.build(), Scale(manifest)
    if models.find(model).closed_form:
        network.fit([scale(torch.from_numpy(draw(kind, shape, 90, seed=2)))])
    save_weights(network.eval(), artifacts / "train/v/model.safetensors")
    item = {"shape": shape, "unit_range": kind == "image", "groups": []}
    config = {"model": model, "params": sizes, "base": base, "base_params": blueprint.base_params, "item": item}
    write_json(artifacts / "train/v/config.json", {**config, "loss": loss, "seed": 5, "data_digest": "0" * 64})
    scores = score_records(network, scale, draw(kind, shape, 40, seed=3))
    Calibration.fit(scores, 0.1).save(artifacts / "threshold/v")
    by_squared_error(network).save(artifacts / "threshold/v")
    metrics = {"mse": 0.1, "false_alarm_rate": 0.08, "false_alarm_low": 0.04, "false_alarm_high": 0.13}
    write_json(artifacts / "evaluate/v/metrics.json", metrics)
    return artifacts


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    """As in a stage; more would spin on the cores that other tests need."""
    torch.set_num_threads(1)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkout to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def zoo() -> list[Any]:
    """Every model on images and on tables, and the options that change what is exported; two seconds each."""
    rows: list[tuple[str, str, dict[str, Any]]] = [(name, "image", {}) for name in models.known()]
    rows += [(name, "table", {}) for name in models.known() if not models.find(name).images_only]
    rows += [("vanilla", "array", {}), ("pca", "array", {"whiten": True}), ("tied", "array", {"activation": "elu"})]
    rows += [("vanilla", "array", {"output": "tanh"})]
    rows += [("sparse", "array", {"penalty": penalty}) for penalty in ("l1", "top_k")]
    return [pytest.param(*row, id="-".join([row[0], row[1], *map(str, row[2].values())])) for row in rows]


@pytest.mark.parametrize(("model", "kind", "options"), zoo())
def test_every_model_exports_and_every_file_agrees(here: Path, model: str, kind: str, options: dict[str, Any]) -> None:
    if kind == "table":
        artifacts = here / "artifacts"
        made_tables.make_artifacts(artifacts, model)
    else:
        artifacts = make_artifacts(here, model, kind, models.find(model).default_base, **options)
    opset = 18 if kind == "array" else 20
    report = export("v", Params(opset=opset), threads=1, artifacts=artifacts)
    out = artifacts / "export/v"
    assert {path.name for path in out.iterdir()} == EXPORTS
    assert report["passed"] and report["records"] == 150 and report["batches"] == [1, 2, 7, 64]
    assert report["large_batch"] == 4096
    for name in GRAPHS:
        assert {entry.domain: entry.version for entry in onnx.load(out / name).opset_import}[""] == opset
        onnx.checker.check_model(out / name, full_check=True)
    require_the_models_answers(artifacts)
    if kind != "table":
        require_one_graph(out, kind)


def require_the_models_answers(artifacts: Path) -> None:
    """Of every graph, on the test records in batches of four sizes, the largest with repetitions."""
    manifest, model = load_manifest(artifacts / "prepare"), load_model(artifacts / "train/v")
    records, calibration = np.load(artifacts / "prepare/test.npy"), Calibration.load(artifacts / "threshold/v")
    raw = {"input": records}
    if manifest.columns:
        (raw,) = read_rows("test", manifest.columns, artifacts / "prepare", len(records))
    with torch.no_grad():
        x = Scale(manifest)(torch.from_numpy(records))
        x_hat, code = (value.numpy() for value in model(x))
    expected = {"reconstruction": x_hat, "code": code, "score": score_records(model, Scale(manifest), records)}
    for name in GRAPHS:
        session = onnx_files.open_session(artifacts / "export/v" / name, 1)
        outputs = [output.name for output in session.get_outputs()]
        for size in (1, 2, 7, 4096):
            rows = np.resize(np.arange(len(records)), size)
            found = dict(zip(outputs, session.run(None, {of: values[rows] for of, values in raw.items()}), strict=True))
            for output in expected.keys() & found.keys():
                np.testing.assert_allclose(found[output], expected[output][rows], rtol=1e-4, atol=1e-5)
            if name == "scorer.onnx":
                p_values = calibration.p_values(found["score"]).astype(np.float32)
                np.testing.assert_array_equal(found["p_value"], p_values)
                np.testing.assert_array_equal(found["is_anomaly"], calibration.alarms(found["score"]))
                parts = sum(
                    part.reshape(size, -1).sum(1) for of, part in found.items() if of.startswith("contribution")
                )
                np.testing.assert_allclose(parts, found["score"], rtol=1e-5)


def require_one_graph(out: Path, kind: str) -> None:
    """The scorer has every output, and the smaller graphs are cut out of it: equal to the bit."""
    records = draw(kind, SHAPES[kind], 5, seed=4)
    whole = parity.onnx_runner(out / "scorer.onnx", 1)(records)
    assert tuple(whole) == OUTPUTS
    assert [value.shape for value in whole.values()] == [
        *[(5, *SHAPES[kind]), (5, 3), (5,), (5,), (5,)],
        (5, *SHAPES[kind]),
    ]
    assert [value.dtype for value in whole.values()] == [*[np.float32] * 4, np.bool_, np.float32]
    np.testing.assert_array_equal(parity.onnx_runner(out / "encoder.onnx", 1)(records)["code"], whole["code"])
    rebuilt = parity.onnx_runner(out / "reconstructor.onnx", 1)(records)["reconstruction"]
    np.testing.assert_array_equal(rebuilt, whole["reconstruction"])


def test_two_folders_and_two_processes_give_the_same_bytes(finished: Path, checkout: Path) -> None:
    first, again = finished / "artifacts/export/vanilla", checkout / "artifacts/export/vanilla"
    shutil.rmtree(again)
    must(sys.executable, "-W", "error", "-m", "components.export", "vanilla", cwd=checkout, PYTHONHASHSEED="2")
    assert {path.name for path in again.iterdir()} == EXPORTS
    assert [name for name in EXPORTS if (first / name).read_bytes() != (again / name).read_bytes()] == []


def test_files_hold_no_traces_of_their_making(finished: Path) -> None:
    exported = finished / "artifacts/export/vanilla"
    places = [str(place).encode() for place in (ROOT, finished, Path(torch.__file__).parent)]
    for path in exported.iterdir():
        assert not any(place in path.read_bytes() for place in places)
    for path in exported.glob("*.onnx"):
        model = onnx.load(path)
        assert "metadata_props" not in str(model) and "doc_string" not in str(model)
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]
        assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_the_torchscript_archive_is_aligned_undated_and_free_of_gradients(finished: Path) -> None:
    exported = finished / "artifacts/export/vanilla"
    raw = (exported / "model.torchscript.pt").read_bytes()
    with zipfile.ZipFile(exported / "model.torchscript.pt") as archive:
        assert not [name for name in archive.namelist() if name.endswith(".debug_pkl")]
        for entry in archive.infolist():
            name, extra = (int.from_bytes(raw[entry.header_offset + at :][:2], "little") for at in (26, 28))
            assert (entry.header_offset + 30 + name + extra) % ALIGNMENT == 0
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
    outputs = load_torchscript(exported / "model.torchscript.pt")(torch.zeros(3, 1, 8, 8, dtype=torch.uint8))
    assert not any(value.requires_grad for value in outputs)


def test_a_file_that_disagrees_fails_the_stage_and_leaves_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts = make_artifacts(here, "vanilla", "array")
    (artifacts / "export/v").mkdir(parents=True)
    (artifacts / "export/v/scorer.onnx").write_text("an export of earlier weights")
    honest = onnx_files.save_onnx

    def tampered(model: onnx.ModelProto, path: Path) -> None:
        for bias in [tensor for tensor in model.graph.initializer if tensor.name.endswith("decoder.6.bias")]:
            values = onnx.numpy_helper.to_array(bias) + np.float32(0.05)
            bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
        honest(model, path)

    monkeypatch.setattr(onnx_files, "save_onnx", tampered)
    with pytest.raises(parity.ParityError, match=r"model: scorer: reconstruction differs by up to .*score differs by"):
        export("v", Params(), threads=1, artifacts=artifacts)
    assert not (artifacts / "export/v").exists()
    assert list((here / ".work/tmp").iterdir()) == []


def test_a_record_that_overflows_is_an_alarm_and_no_fault(here: Path) -> None:
    artifacts = make_artifacts(here, "vanilla", "array")
    records = draw("array", SHAPES["array"], 9, seed=6)
    records[4] = 1e30
    np.save(artifacts / "prepare/test.npy", records)
    assert export("v", Params(), threads=1, artifacts=artifacts)["passed"]
    found = parity.onnx_runner(artifacts / "export/v/scorer.onnx", 1)(records)
    assert np.isinf(found["score"][4]) and found["is_anomaly"][4]


def test_scores_of_rounding_noise_are_refused(here: Path) -> None:
    artifacts = make_artifacts(here, "pca", "array", latent_dim=6)
    with pytest.raises(
        UserError, match=r"variants\.v\.latent_dim: leaves only rounding errors .*; choose a smaller code"
    ):
        export("v", Params(), threads=1, artifacts=artifacts)


def test_a_missing_artifact_names_the_stage_that_makes_it(here: Path) -> None:
    artifacts = make_artifacts(here, "vanilla", "array")
    (artifacts / "evaluate/v/metrics.json").unlink()
    with pytest.raises(UserError, match=r"metrics\.json: is missing; run `dvc repro evaluate@v` first"):
        export("v", Params(), threads=1, artifacts=artifacts)


def test_the_card_tells_how_to_use_the_file_and_its_lines_run(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exported = finished / "artifacts/export/vanilla"
    card, scorer = (exported / "card.md").read_text(), (exported / "scorer.onnx").read_bytes()
    calibration = Calibration.load(finished / "artifacts/threshold/vanilla")
    alpha = "an alarm is `p_value` <= alpha."
    for fact in (hashlib.sha256(scorer).hexdigest(), f"stays below {calibration.upper_95:.4g}", alpha):
        assert fact in card
    lines = card.partition("```python\n")[2].partition("```")[0]
    assert len(lines.splitlines()) == 5
    monkeypatch.chdir(exported)
    exec(lines, {})  # noqa: S102 - the reader will do the same
    assert "is_anomaly" in capsys.readouterr().out


@pytest.mark.parametrize("variant", ["pca", "vanilla"])
def test_the_file_says_of_the_test_split_what_evaluate_said(finished: Path, variant: str) -> None:
    found = parity.onnx_runner(finished / "artifacts/export" / variant / "scorer.onnx", 1)(
        np.load(finished / "artifacts/prepare/test.npy")
    )
    with (finished / "artifacts/evaluate" / variant / "scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    np.testing.assert_allclose(found["score"], [float(row["score"]) for row in rows], rtol=1e-4)
    np.testing.assert_array_equal(found["is_anomaly"], [row["is_alarm"] == "1" for row in rows])

"""Compressed scorers are whole scorers: they keep their promise, decide by their own scores, and repeat to the byte.

References: counts in numpy over the files' own scores, the exported scorer, a second process in another folder, and
for the arithmetic of 8 bits its own rounding error.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from conftest import edit_params, must, run
from fabricated import fabricate, metrics
from hypothesis import given
from hypothesis import strategies as st
from made_tables import make_artifacts
from onnx import numpy_helper
from publications import BOARD, SCORER, WINNER, relock, rewrite
from torch import nn

from components.compare import compare
from components.compress import compress
from components.compressing import resolve
from components.compressing.judging import faults
from components.compressing.network_part import layers, store_in_8_bits
from components.compressing.pruned import mask, store_sparsely
from components.compressing.recalibrating import feeds
from components.data.splits import load_manifest
from components.export import export
from components.exporting.onnx_files import open_session
from components.exporting.parity import onnx_runner
from components.params.compare import Params as CompareParams
from components.params.compress import Params
from components.params.export import Params as ExportParams
from components.publishing.results import load_results
from components.runtime.errors import UserError
from components.scoring.conformal import Calibration

METHODS: dict[str, Any] = {
    "int8_static": {"records": 64},
    "int8_dynamic": None,
    "pruned": None,
    "student": {"share": 0.5, "epochs": 100},
}
ROUNDED = ("int8_static", "int8_dynamic")
SETTINGS = {"opset": 20, "seed": 7, "threads": 1}


@pytest.fixture(scope="module")
def root(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout in which the network of digits was compressed in every way, as the working directory."""
    target = tmp_path_factory.mktemp("compress") / "checkout"
    shutil.copytree(finished, target, symlinks=True)
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(target)
        compress("vanilla", Params(methods=METHODS), **SETTINGS)
        yield target


def folder(method: str) -> Path:
    return Path("artifacts/compress/vanilla") / method


def table(variant: str = "vanilla") -> dict[str, Any]:
    return json.loads(Path(f"artifacts/compress/{variant}/compression.json").read_text())


def scores(path: Path, split: str) -> np.ndarray:
    return onnx_runner(path, 1)(np.load(f"artifacts/prepare/{split}.npy"))["score"]


@pytest.mark.parametrize("method", METHODS)
def test_every_scorer_answers_as_the_exported_one_does(root: Path, method: str) -> None:
    exported, ours = (onnx_runner(path, 1) for path in (SCORER, folder(method) / "scorer.onnx"))
    records = np.load("artifacts/prepare/test.npy")
    for size in (1, 2, 7):
        theirs, found = exported(records[:size]), ours(records[:size])
        assert {n: (v.shape, v.dtype) for n, v in found.items()} == {n: (v.shape, v.dtype) for n, v in theirs.items()}
    # digits with a code of eight: whatever the method, the reconstruction is the exported one's more than anything else
    among, alike = exported(records), ours(records)
    distance = np.square(among["reconstruction"] - alike["reconstruction"]).mean()
    assert distance < np.square(among["reconstruction"] - records / 16).mean()


@pytest.mark.parametrize("method", METHODS)
def test_the_threshold_is_that_of_the_files_own_scores(root: Path, method: str) -> None:
    promise, row = Calibration.load(Path("artifacts/threshold/vanilla")), table()[method]
    ours = np.sort(scores(folder(method) / "scorer.onnx", "calibration"))
    assert (row["n"], row["m"], row["alpha"]) == (promise.n, promise.m, promise.alpha) == (len(ours), row["m"], 0.05)
    assert row["threshold"] == ours[row["n"] - row["m"]]
    assert (ours > row["threshold"]).mean() <= 0.05
    assert row["false_alarm_excess_p"] > 0.01
    assert row["false_alarm_low"] <= row["false_alarm_rate"] <= row["false_alarm_high"]


def test_the_old_threshold_would_have_broken_the_promise(root: Path) -> None:
    old, method = Calibration.load(Path("artifacts/threshold/vanilla")).threshold, "pruned"
    ours = scores(folder(method) / "scorer.onnx", "calibration")
    assert (ours > old).mean() > 0.08 and (ours > table()[method]["threshold"]).mean() <= 0.05


@pytest.mark.parametrize("method", METHODS)
def test_what_decides_stays_in_float32(root: Path, method: str) -> None:
    """The trap: a quantiser that rounds the sorted scores, too, moves the threshold on the way out."""
    path = folder(method) / "scorer.onnx"
    graph = onnx.load(path).graph
    (rows,) = [numpy_helper.to_array(t) for t in graph.initializer if t.name.endswith("calibration.rows")]
    ours = np.sort(scores(path, "calibration"))
    assert rows.dtype == np.float32 and np.isposinf(rows[0]).all()
    held = rows[1:].ravel()
    np.testing.assert_array_equal(held[: len(ours)], ours[::-1])
    assert np.isneginf(held[len(ours) :]).all()
    behind, reached = False, {"reconstruction"}
    for node in graph.node:
        if reached.intersection(node.input):
            behind, reached = True, reached | set(node.output)
            assert "Quant" not in node.op_type and "Integer" not in node.op_type
    assert behind and "is_anomaly" in reached
    found = onnx_runner(path, 1)(np.load("artifacts/prepare/test.npy"))
    reaching = (ours[None] >= found["score"][:, None]).sum(1)
    np.testing.assert_array_equal(found["is_anomaly"], reaching < table()[method]["m"])
    np.testing.assert_array_equal(found["p_value"], ((1 + reaching) / (1 + len(ours))).astype(np.float32))


def test_rounding_to_8_bits_keeps_the_ranking_and_a_quarter_of_the_weights(root: Path) -> None:
    for method in ROUNDED:
        row, kinds = table()[method], {t.data_type for t in onnx.load(folder(method) / "scorer.onnx").graph.initializer}
        assert row["rank_correlation"] > 0.998 and abs(row["auroc_loss"]) < 0.004
        assert onnx.TensorProto.INT8 in kinds and row["size_ratio"] < 0.7  # of digits, the table of scores is the rest
        assert row["parameters_ratio"] == 1
    # a range for each batch makes a record's score depend on its neighbours, learned ranges do not
    assert table()["int8_static"]["batch_shift"] < 1e-5 < 1e-3 < table()["int8_dynamic"]["batch_shift"]


def test_pruned_weights_stay_zero_through_training_and_are_not_stored(root: Path) -> None:
    graph = onnx.load(folder("pruned") / "scorer.onnx").graph
    assert len(graph.sparse_initializer) >= 2
    assert table()["pruned"]["parameters_ratio"] == pytest.approx(0.2, abs=0.03)
    assert table()["pruned"]["size_ratio"] < 0.9 and table()["pruned"]["auroc_loss"] < 0.03


def test_the_student_is_as_small_as_asked_and_learned_from_its_teacher(root: Path) -> None:
    row = table()["student"]
    exported = json.loads(Path("artifacts/evaluate/vanilla/metrics.json").read_text())
    assert 0.4 < row["parameters_ratio"] <= 0.5
    # half of the parameters, and the better network: it reconstructs records, not what its teacher makes of them
    assert row["rank_correlation"] > 0.8 and row["auroc_loss"] < 0 and row["mse"] < exported["mse"]
    records = np.load("artifacts/prepare/test.npy")
    theirs, ours = (onnx_runner(path, 1)(records)["code"] for path in (SCORER, folder("student") / "scorer.onnx"))
    unlike = np.square(ours - theirs).mean() / theirs.var(0).mean()
    assert unlike < 0.3  # codes have the teacher's meaning: an unrelated network would be at 1 or above


def test_a_second_process_makes_the_same_bytes(root: Path, finished: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(finished, again, symlinks=True)
    edit_params(again, compress={"methods": METHODS})
    said = must(sys.executable, "-W", "error", "-m", "components.compress", "vanilla", cwd=again, PYTHONHASHSEED="2")
    assert "vanilla, int8_static: " in said and "of float32's; holds its limits" in said, said
    ours, theirs = (path / "artifacts/compress/vanilla" for path in (root, again))
    names = sorted(path.relative_to(ours) for path in ours.rglob("*") if path.is_file())
    assert len(names) == 1 + 4 * len(METHODS)
    assert [name for name in names if (ours / name).read_bytes() != (theirs / name).read_bytes()] == []
    assert not any(str(place).encode() in (ours / name).read_bytes() for name in names for place in (root, finished))


def test_a_closed_form_is_rounded_and_cannot_be_trained(root: Path) -> None:
    fitted = compress("pca", Params(methods=METHODS), **SETTINGS)
    assert fitted["student"] == fitted["pruned"]
    assert fitted["student"] == {"not_applicable": "'pca' is fitted in closed form and takes no steps"}
    for method in ROUNDED:  # its weights are used twice, once transposed, and rounded both times
        assert fitted[method]["rank_correlation"] > 0.999 and fitted[method]["faults"] == []
        kinds = [node.op_type for node in onnx.load(f"artifacts/compress/pca/{method}/scorer.onnx").graph.node]
        assert kinds.count("MatMulInteger") == (2 if method == "int8_dynamic" else 0) and "Transpose" not in kinds


def test_nothing_is_made_unless_asked_and_torch_stays_away(finished: Path, tmp_path: Path) -> None:
    made = finished / "artifacts/compress/vanilla"
    assert {path.name: path.read_text() for path in made.iterdir()} == {"compression.json": "{}\n"}
    check = "import sys, components.compress as c; c.OUT = c.Path(sys.argv.pop()); sys.argv.append('vanilla')"
    code = f"{check}; c.main(); assert not {{'torch', 'onnx', 'numpy'}} & set(sys.modules)"
    assert "nothing to compress" in must(sys.executable, "-c", code, str(tmp_path / "out"), cwd=finished)


def test_ranges_are_learned_from_training_records_alone(root: Path, tmp_path: Path) -> None:
    shutil.copytree("artifacts", tmp_path / "artifacts", symlinks=True)
    other = np.zeros_like(np.load("artifacts/prepare/calibration.npy")) + np.arange(8, dtype=np.uint8)
    (tmp_path / "artifacts/prepare/calibration.npy").unlink()
    np.save(tmp_path / "artifacts/prepare/calibration.npy", np.where(np.arange(len(other)) % 2, 16, other.T).T)
    compress("vanilla", Params(methods={"int8_static": {"records": 64}}), **SETTINGS, artifacts=tmp_path / "artifacts")
    graphs = [onnx.load(place / folder("int8_static") / "scorer.onnx") for place in (root, tmp_path)]
    held = [{tensor.name: tensor for tensor in graph.graph.initializer} for graph in graphs]
    differing = {name for name in held[0] if held[0][name] != held[1][name]}
    assert differing == {"calibration.largest", "calibration.rows"}


def test_a_table_is_compressed_behind_its_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    artifacts = tmp_path / "artifacts"
    manifest = make_artifacts(artifacts)
    export("v", ExportParams(), threads=1, artifacts=artifacts)
    (row,) = compress("v", Params(methods={"int8_static": {"records": 32}}), **SETTINGS, artifacts=artifacts).values()
    assert row["auroc"] is None and row["rank_correlation"] > 0.99
    session = open_session(artifacts / "compress/v/int8_static/scorer.onnx", 1)
    rows = np.array([3, 4, 149])
    (few,), whole = (
        list(feeds("test", manifest, artifacts / "prepare", rows=rows)),
        next(feeds("test", load_manifest(artifacts / "prepare"), artifacts / "prepare")),
    )
    np.testing.assert_allclose(session.run(["score"], few)[0], session.run(["score"], whole)[0][rows], rtol=1e-6)
    assert "contribution.city" in {output.name for output in session.get_outputs()}


def test_convolutions_are_stored_in_8_bits_and_multiply_in_float32() -> None:
    generator = np.random.default_rng(0)
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 20]>
        net (float[batch, 1, 8, 8] x) => (float[batch, 1, 8, 8] reconstruction) {
          inner = Conv <pads: ints = [1, 1, 1, 1], strides: ints = [2, 2]> (x, down)
          reconstruction = ConvTranspose <pads: ints = [1, 1, 1, 1], strides: ints = [2, 2],
                                          output_padding: ints = [1, 1]> (inner, up)
        }""")
    weights = {name: generator.normal(0, 1, (4, 1, 3, 3)).astype(np.float32) for name in ("down", "up")}
    weights["down"][1] = 0  # a dead channel has no scale of its own
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    x = generator.normal(0, 1, (3, 1, 8, 8)).astype(np.float32)
    (before,) = open_session(model.SerializeToString(), 1).run(None, {"x": x})
    store_in_8_bits(model)
    onnx.checker.check_model(model, full_check=True)
    (after,) = open_session(model.SerializeToString(), 1).run(None, {"x": x})
    assert {t.data_type for t in model.graph.initializer if t.name.endswith("int8")} == {onnx.TensorProto.INT8}
    assert not {t.name for t in model.graph.initializer} & set(weights)
    np.testing.assert_allclose(after, before, atol=0.02 * np.abs(before).max())
    assert (after != before).any()


@given(st.floats(0.05, 0.95), st.integers(0, 5))
def test_the_smallest_weights_go_whatever_their_layer(sparsity: float, seed: int) -> None:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(9, 7), nn.Linear(7, 3))
    before = torch.cat([layer.weight.detach().abs().flatten() for layer in network])
    mask(network, sparsity)
    after = torch.cat([layer.weight.detach().abs().flatten() for layer in network])
    assert int((after == 0).sum()) == max(1, round(sparsity * len(before)))
    assert before[after == 0].max() <= before[after != 0].min()
    assert all((layer.bias != 0).all() for layer in network)


def test_only_tensors_of_mostly_zeros_become_sparse() -> None:
    weights = {"thin": np.eye(8, dtype=np.float32), "thick": np.ones((8, 8), np.float32)}
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 20]>
        net (float[batch, 8] x) => (float[batch, 8] y) { z = MatMul (x, thin) y = MatMul (z, thick) }""")
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    store_sparsely(model)
    assert [t.name for t in model.graph.initializer] == ["thick"]
    (y,) = open_session(model.SerializeToString(), 1).run(None, {"x": np.eye(8, dtype=np.float32)})
    np.testing.assert_array_equal(y, np.ones((8, 8)))


def test_limits_are_told_apart_and_every_broken_one_is_named(root: Path) -> None:
    from components.compressing.judging import Judgement

    row = table()["int8_dynamic"]
    fields = {name: row[name] for name in Judgement.__dataclass_fields__}
    limits = resolve({"int8_static": None})["int8_static"]
    good = Judgement(
        **fields | {"rank_correlation": 0.9995, "auroc_loss": 0.001, "batch_flips": 0.0, "false_alarm_excess_p": 0.5}
    )
    bad = {"rank_correlation": 0.99, "auroc_loss": 0.003, "batch_flips": 0.02, "false_alarm_excess_p": 0.001}
    assert faults(good, limits) == []
    found = faults(Judgement(**fields | bad), limits)
    words = ("AUROC is 0.0030 lower, allowed are 0.002", "by 0.99000 in rank, asked for 0.999", "2 % of records")
    assert len(found) == 4 and all(word in text for word, text in zip(words, found, strict=False))
    assert "significantly more than the promised 5 %" in found[3]


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"int8": None}, r"compress\.methods: unknown method 'int8'; did you mean 'int8_"),
        ({"student": {"share": 1.5}}, r"compress\.methods\.student\.share: must be less than 1, got 1\.5"),
        ({"pruned": {"sparsty": 0.5}}, r"compress\.methods\.pruned: unknown key 'sparsty'; did you mean 'sparsity'"),
    ],
)
def test_wrong_params_are_one_line(finished: Path, tmp_path: Path, methods: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Params(methods=methods)


def row(**changed: Any) -> dict[str, Any]:
    """What compress says of a method."""
    return {
        "bytes": 110_000, "size_ratio": 0.27, "parameters": 101_000, "mse": 0.0245, "auroc": 0.9635,
        "auroc_loss": 0.0005, "rank_correlation": 0.9996, "flips": 3, "batch_shift": 0.0, "threshold": 0.05,
        "false_alarm_rate": 0.05, "false_alarm_low": 0.02, "false_alarm_high": 0.09, "faults": [], **changed,
    }  # fmt: skip


def compare_with(root: Path, publish: str, **rows: dict[str, Any]) -> dict[str, Any]:
    artifacts = fabricate(root / "artifacts", {"net": metrics(0.8)})
    (artifacts / "compress/net/compression.json").write_text(json.dumps(rows))
    return compare(["net"], CompareParams(), artifacts, publish=publish)


def test_what_holds_its_limits_may_be_published_and_the_report_shows_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    student = row(bytes=40_000, auroc=0.95, auroc_loss=0.014, faults=["AUROC is 0.0140 lower, allowed are 0.005"])
    board = compare_with(tmp_path, "int8_static", int8_static=row(), student=student)
    assert board["eligible"] and board["export"] == "artifacts/compress/net/int8_static"
    assert "int8_static has 27.0 % of the size, with AUROC −0.0005 and a rank" in board["reasons"][-1]  # noqa: RUF001
    page = Path("artifacts/compare/report.html").read_text()
    assert "net, student" in page and "AUROC is 0.0140 lower" in page and "comparison.compression." in page
    lines = Path("artifacts/compare/compression.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines] == ["method", "float32", "int8_static", "student"]
    # float32 is the best there is, the student the smallest; int8 is smaller than float32 and as good as none
    assert [line.split(",")[-1] for line in lines[1:]] == ["1", "1", "1"]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ({"student": row(faults=["AUROC is 0.0140 lower, allowed are 0.005"])}, "AUROC is 0.0140 lower"),
        ({"student": row(mse=0.031)}, "its squared error is 0.031, no longer below PCA's 0.03"),
        ({"student": {"not_applicable": "it takes no steps"}}, "there is no student of net: it takes no steps"),
    ],
)
def test_what_breaks_a_limit_is_refused_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: dict[str, Any], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    board = compare_with(tmp_path, "student", **rows)
    assert not board["eligible"] and reason in board["reasons"][0]


def test_what_was_not_made_cannot_be_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"export\.publish: is 'pruned', which was not made of 'net'; add pruned to"):
        compare_with(tmp_path, "pruned", student=row())


def test_register_takes_the_published_scorer_or_says_why_not(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout)
    rewrite(BOARD, winner=WINNER)
    relock()
    exported = load_results()
    assert exported.chosen.scorer == SCORER
    edit_params(checkout, export={"publish": "int8_static"})
    with pytest.raises(UserError, match=r"params\.yaml export\.publish: changed after compare ran"):
        load_results()
    gate = {"verdict": "pass", "value": 1.0, "limit": 1.0, "text": "int8_static is within its limits"}
    rewrite(Path("artifacts/compare/gates.json"), **{WINNER: {"compression": gate}})
    relock()
    published, folder = load_results(), Path("artifacts/compress") / WINNER / "int8_static"
    assert (published.chosen.scorer, published.chosen.threshold) == (folder / "scorer.onnx", folder)
    assert published.version_key() != exported.version_key()
    rewrite(
        Path("artifacts/compare/gates.json"), **{WINNER: {"compression": gate | {"verdict": "fail", "text": "bad"}}}
    )
    relock()
    refused = run(sys.executable, "-m", "components.register", cwd=checkout)
    assert refused.returncode == 2 and refused.stderr.startswith("error: export.publish: bad; publish float32")
    assert refused.stderr.count("\n") == 1


def test_only_the_networks_own_weights_are_rounded() -> None:
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 20]>
        scorer (float[batch, 4] x) => (float[batch, 4] reconstruction, float[batch] score, float[batch, 4] again) {
          code = MatMul (x, encoder)
          reconstruction = MatMul (code, decoder)
          residual = Sub (x, reconstruction)
          whitened = MatMul (residual, precision)
          score = ReduceMean <keepdims: int = 0> (whitened, axis)
          other = Neg (code)
          again = MatMul (other, decoder)
        }""")
    weights = {"encoder": (4, 2), "decoder": (2, 4), "precision": (4, 4)}
    arrays = {name: np.ones(shape, np.float32) for name, shape in weights.items()} | {"axis": np.array([1])}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in arrays.items())
    # the score's product stays in float32; what decodes another code has the network's weights, too
    assert [node.output[0] for node in layers(model.graph)] == ["code", "reconstruction", "again"]

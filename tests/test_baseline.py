"""The stage `baseline`: every simple method keeps what all of them promise, and each is scikit-learn's.

References: scikit-learn used directly, the splits themselves, and DeLong's formula as pairs of variants use it.
Contract tests run over the registry, so a new method is tested by being there.
"""

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, edit_params, must, run
from fabricated import fabricate, fabricate_baseline, metrics, pca_metrics
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.covariance import LedoitWolf
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import SGDOneClassSVM
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import OneClassSVM

from components import baselines
from components.baseline import Found, judge
from components.baselines import Fitted
from components.compare import compare
from components.comparing.pairs import area_differences
from components.comparing.records import Scored
from components.data.scaling import Scale
from components.data.splits import Manifest, Scaling, load_manifest
from components.params.baselines import resolve, resolve_all
from components.params.compare import Params
from components.params.threshold import Params as Promise
from components.runtime.errors import UserError

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "mahalanobis": [{}, {"components": 0.9}, {"components": 12}],
    "one_class_svm": [{}, {"exact": 50, "landmarks": 80}],
    "pca_error": [{}, {"components": 12}],
}
"""Params that each method is tested with; the defaults for a method that is not named."""
CASES = [(name, given) for name in baselines.known() for given in OPTIONS.get(name, [{}])]


@pytest.fixture(scope="module")
def zeros() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Digits: 100 zeros to fit to, then 78 zeros and every other digit, and which of these are no zeros."""
    digits = load_digits()
    x, strange = digits.data / 16, digits.target != 0
    test = np.concatenate([np.flatnonzero(~strange)[100:], np.flatnonzero(strange)])
    return x[~strange][:100], x[test], strange[test]


def fit(name: str, x: np.ndarray, given: dict[str, Any] | None = None, seed: int = 0) -> Fitted:
    return baselines.find(name).fit(baselines.resolve(name, given or {}, "baselines.b"), x, seed)


# What every method promises


@pytest.mark.parametrize(("name", "given"), CASES)
def test_scores_are_finite_distinct_and_better_than_chance(
    zeros: tuple[np.ndarray, ...], name: str, given: dict[str, Any]
) -> None:
    train, test, strange = zeros
    scores = fit(name, train, given).score(test)
    assert scores.shape == (len(test),)
    assert np.isfinite(scores).all()
    assert len(np.unique(scores.astype(np.float32))) > 0.9 * len(np.unique(test, axis=0))
    assert roc_auc_score(strange, scores) > 0.9


@pytest.mark.parametrize(("name", "given"), CASES)
def test_equal_seeds_give_equal_scores_and_a_meaning(
    zeros: tuple[np.ndarray, ...], name: str, given: dict[str, Any]
) -> None:
    train, test, _ = zeros
    first, second = (fit(name, train, given, seed=3) for _ in range(2))
    assert first.score(test).tobytes() == second.score(test).tobytes()
    assert first.meaning == second.meaning != ""
    assert baselines.find(name).description


@pytest.mark.parametrize("name", baselines.known())
def test_a_method_costs_nothing_until_it_is_fitted(name: str) -> None:
    source = (Path(baselines.__file__).parent / f"{name}.py").read_text()
    assert not [line for line in source.splitlines() if line.startswith(("import sklearn", "from sklearn"))]


# Against scikit-learn


def by_principal_components(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    fitted = PCA(12, svd_solver="full").fit(train)
    return np.square(fitted.inverse_transform(fitted.transform(test)) - test).mean(1)


def by_low_rank_gaussian(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    fitted = PCA(12, svd_solver="full").fit(train)
    off = test - fitted.mean_
    return np.einsum("ij,jk,ik->i", off, fitted.get_precision(), off) / test.shape[1]


def by_nystroem(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    kernel = Nystroem(gamma=1 / (64 * train.var()), n_components=80, random_state=0).fit(train)
    machine = SGDOneClassSVM(nu=0.1, random_state=0).fit(kernel.transform(train))
    return -machine.decision_function(kernel.transform(test))


@pytest.mark.parametrize(
    ("name", "given", "reference"),
    [
        ("pca_error", {"components": 12}, by_principal_components),
        ("mahalanobis", {"components": 12}, by_low_rank_gaussian),
        ("mahalanobis", {}, lambda train, test: LedoitWolf().fit(train).mahalanobis(test) / 64),
        (
            "nearest_neighbours",
            {"k": 3},
            lambda train, test: NearestNeighbors().fit(train).kneighbors(test, 3)[0].mean(1),
        ),
        (
            "isolation_forest",
            {"trees": 30, "sample": 64},
            lambda train, test: (
                -IsolationForest(n_estimators=30, max_samples=64, random_state=0).fit(train).score_samples(test)
            ),
        ),
        (
            "one_class_svm",
            {"nu": 0.2},
            lambda train, test: -OneClassSVM(nu=0.2, gamma="scale").fit(train).decision_function(test),
        ),
        ("one_class_svm", {"exact": 50, "landmarks": 80}, by_nystroem),
    ],
)
def test_a_score_is_scikit_learns(
    zeros: tuple[np.ndarray, ...],
    name: str,
    given: dict[str, Any],
    reference: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> None:
    train, test, _ = zeros
    assert fit(name, train, given).score(test) == pytest.approx(reference(train, test), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("pca_error", {"components": 65}, "components must be at most 64 for 100 records of 64 values"),
        ("mahalanobis", {"components": 64}, "components must leave some of the variance, 64 explain all of it"),
        ("nearest_neighbours", {"k": 101}, "k must be at most 100, the number of training records, got 101"),
    ],
)
def test_records_that_do_not_suffice_are_refused(
    zeros: tuple[np.ndarray, ...], name: str, given: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        fit(name, zeros[0], given)


def test_a_full_covariance_of_wide_records_is_refused() -> None:
    with pytest.raises(ValueError, match="components must be named: a full covariance has room for 4096 values, not"):
        fit("mahalanobis", np.zeros((3, 5000)))


@given(
    arrays(np.uint8, (4, 1, 2, 3)),
    st.floats(-300, 300, width=32),
    st.floats(2**-7, 300, width=32),
)
def test_records_are_scaled_as_in_every_graph(raw: np.ndarray, shift: float, scale: float) -> None:
    scaling = Scaling([shift], [scale])
    graph = Scale(Manifest("image", [1, 2, 3], "uint8", [], [], {}, [0, 255], scaling, {}, {}, {}))
    assert scaling.apply(raw).tobytes() == graph(torch.from_numpy(raw)).numpy().tobytes()


# Params


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"b": {}}, r"baselines\.b\.method: is missing; name a method: isolation_forest, mahalanobis, "),
        ({"b": {"method": "nearest_neighbors"}}, r"unknown method .*; did you mean 'nearest_neighbours'\? known: "),
        ({"b": {"method": "pca_error", "component": 3}}, r"baselines\.b: unknown key 'component'; did you mean 'comp"),
        ({"b": {"method": "pca_error", "components": 1.5}}, r"baselines\.b\.components: must be a whole number, or a"),
        ({"B!": {"method": "pca_error"}}, r"baselines\.B!: a name is lower-case letters"),
        ({"net": {"method": "pca_error"}}, r"baselines\.net: is also the name of a variant"),
        (["pca_error"], r"baselines: must be a mapping, got \['pca_error'\]; write it as `name: \{method"),
    ],
)
def test_wrong_params_name_the_key_and_the_fix(given: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        resolve_all({"variants": {"net": {}}, "baselines": given})


def test_there_may_be_no_baseline_but_the_key_is_dvcs() -> None:
    assert resolve_all({"baselines": {}}) == []
    with pytest.raises(UserError, match=r"baselines: is missing; .*, at least as `baselines: \{\}`"):
        resolve_all({})


# The stage


def judged(prepared: Path, method: str = "nearest_neighbours", **given: Any) -> Found:
    baseline = resolve("b", {"baselines": {"b": {"method": method, **given}}})
    return judge(baseline, prepared, Promise(alpha=0.05), bootstrap=100, seed=7)


def test_the_stage_fits_to_train_calibrates_and_judges_on_test(finished: Path) -> None:
    """Without torch, and with the numbers of scikit-learn on the splits themselves."""
    prepared, folder = finished / "artifacts/prepare", finished / "artifacts/baseline/neighbours"
    train, calibration, test = (
        np.load(prepared / f"{split}.npy").reshape(-1, 64) / 16 for split in ("train", "calibration", "test")
    )
    nearest = NearestNeighbors(n_neighbors=5).fit(train)
    scores = nearest.kneighbors(test)[0].mean(1)
    held_out = np.sort(nearest.kneighbors(calibration)[0].mean(1))
    found = json.loads((folder / "metrics.json").read_text())
    with (folder / "scores.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    strange = np.array([row["is_anomalous"] == "1" for row in rows])
    assert [float(row["score"]) for row in rows] == pytest.approx(scores, rel=1e-6)
    assert found["threshold"] == pytest.approx(held_out[-int(0.05 * (len(held_out) + 1))], rel=1e-6)
    alarms = np.array([row["is_alarm"] == "1" for row in rows])
    assert found["false_alarm_rate"] == alarms[~strange].mean()
    assert found["detection_rate"] == alarms[strange].mean()
    assert found["auroc"] == pytest.approx(roc_auc_score(strange, scores))
    assert found["average_precision"] == pytest.approx(average_precision_score(strange, scores))
    assert found["false_alarm_low"] < 0.05 < found["false_alarm_high"]
    assert found["auroc_low"] < found["auroc"] < found["auroc_high"]
    assert (found["method"], found["fitted_records"]) == ("nearest_neighbours", len(train))
    assert "mse" not in found and "squared_error" not in rows[0]
    of_variant = json.loads((finished / "artifacts/evaluate/vanilla/metrics.json").read_text())
    assert {name for name in found if "false_alarm" in name or "auroc" in name} <= set(of_variant)


def test_a_reconstruction_has_an_error_and_it_is_pcas(finished: Path) -> None:
    found = judged(finished / "artifacts/prepare", "pca_error", components=8)
    pca = json.loads((finished / "artifacts/evaluate/pca/metrics.json").read_text())
    assert found.metrics["mse"] == pytest.approx(pca["mse"], rel=1e-4)
    assert found.metrics["auroc"] == pytest.approx(pca["auroc"], abs=1e-4)
    assert found.columns["squared_error"] == pytest.approx(found.columns["score"])


def test_a_large_train_split_is_thinned_at_random(finished: Path) -> None:
    assert judged(finished / "artifacts/prepare", records=50).metrics["fitted_records"] == 50


def test_without_labels_false_alarms_are_all_that_is_said(finished: Path, tmp_path: Path) -> None:
    prepared = tmp_path / "prepare"
    shutil.copytree(finished / "artifacts/prepare", prepared)
    manifest = load_manifest(prepared).to_json()
    (prepared / "manifest.json").write_text(json.dumps({**manifest, "classes": [], "normal_classes": []}))
    np.save(prepared / "test_labels.npy", np.full(len(np.load(prepared / "test.npy")), -1))
    found = judged(prepared)
    assert not {"auroc", "average_precision", "detection_rate", "anomalous_records"} & found.metrics.keys()
    assert found.metrics["normal_records"] == len(found.columns["score"])
    assert set(found.columns["class"]) == {""}


def test_three_splits_make_the_same_bytes_again_without_torch(finished: Path, tmp_path: Path) -> None:
    """Whose import would cost more than the stage."""
    prepared = tmp_path / "artifacts/prepare"
    prepared.mkdir(parents=True)
    for name in ("manifest.json", "train.npy", "calibration.npy", "test.npy", "test_labels.npy"):
        shutil.copy(finished / "artifacts/prepare" / name, prepared)
    shutil.copy(finished / "params.yaml", tmp_path)
    check = "import sys; from components.baseline import main; main(); assert 'torch' not in sys.modules"
    must(sys.executable, "-c", check, "neighbours", cwd=tmp_path, PYTHONPATH=str(ROOT))
    for name in ("metrics.json", "scores.csv"):
        path = f"artifacts/baseline/neighbours/{name}"
        assert (tmp_path / path).read_bytes() == (finished / path).read_bytes()


def test_what_does_not_suffice_is_one_line(finished: Path) -> None:
    with pytest.raises(UserError, match=r"baselines\.b: k must be at most \d+, .*; change baselines\.b in"):
        judged(finished / "artifacts/prepare", k=1000)
    done = run(sys.executable, "-m", "components.baseline", "neighbors", cwd=finished)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: baselines: unknown baseline 'neighbors'; did you mean 'neighbours'?")


def test_without_baselines_the_graph_is_whole(checkout: Path) -> None:
    edit_params(checkout, baselines={})
    assert "removed artifacts/baseline/neighbours" in must(sys.executable, "-m", "flows.running.prune", cwd=checkout)
    assert "Running stage 'compare'" in must("dvc", "repro", cwd=checkout)
    assert "baseline" not in (checkout / "artifacts/compare/leaderboard.csv").read_text()
    assert 'id="baselines"' not in (checkout / "artifacts/compare/report.html").read_text()


# Beside the winner


@pytest.fixture
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("artifacts")


def compared(artifacts: Path, **shifts: float) -> dict[str, Any]:
    """Compare a winner with baselines whose scores tell anomalies apart so much better, or worse."""
    fabricate(artifacts, {"net": metrics(0.8), "pca": pca_metrics()})
    for name, shift in shifts.items():
        fabricate_baseline(artifacts, name, shift)
    return compare(["net", "pca"], Params(), artifacts, baselines=list(shifts))


def test_a_baseline_never_wins_and_is_shown_winning(artifacts: Path) -> None:
    board = compared(artifacts, knn=3.0, same=0.0, poor=-0.8)
    assert (board["winner"], board["candidates"], list(board["rows"])) == ("net", 2, ["net", "pca"])
    assert [(name, row["against_winner"]) for name, row in board["baselines"].items()] == [
        ("knn", "better than"), ("same", "not told apart from"), ("poor", "worse than")
    ]  # fmt: skip
    said = board["findings"]
    assert said[0].startswith("By AUROC the simple method knn (0.990) is better than net (")
    assert said[1].startswith("By AUROC the simple method same (") and "is not told apart from net (" in said[1]
    assert len(said) == 2
    page = " ".join((artifacts / "compare/report.html").read_text().split())
    for sentence in said:
        assert f"<strong>{sentence}.</strong>" in page
    with (artifacts / "compare/leaderboard.csv").open(newline="") as stream:
        rows = [(row["variant"], row["kind"], row["rank"]) for row in csv.DictReader(stream)]
    assert rows == [
        ("net", "variant", "1"), ("pca", "variant", "2"),
        ("knn", "baseline", ""), ("same", "baseline", ""), ("poor", "baseline", ""),
    ]  # fmt: skip


def test_the_order_of_baselines_in_params_does_not_matter(artifacts: Path) -> None:
    compared(artifacts, a=0.5, b=1.0)
    folder = artifacts / "compare"
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    compared(artifacts, b=1.0, a=0.5)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_baseline_is_held_against_the_winner_by_delong(artifacts: Path) -> None:
    compared(artifacts, a=0.5, b=-0.2)
    tables = []
    for path in (artifacts / "evaluate/net", artifacts / "baseline/a", artifacts / "baseline/b"):
        with (path / "scores.csv").open(newline="") as stream:
            tables.append([float(row["score"]) for row in csv.DictReader(stream)])
    all_pairs = area_differences(Scored(np.arange(480) >= 203, np.array(tables).T))
    with (artifacts / "compare/baselines.csv").open(newline="") as stream:
        rows = {row["first"]: row for row in csv.DictReader(stream)}
    for index, name in enumerate(("a", "b")):  # winner and a, winner and b come first among all pairs
        assert rows[name]["second"] == "net"
        assert float(rows[name]["difference"]) == pytest.approx(-all_pairs.values[index])
        assert float(rows[name]["p"]) == pytest.approx(all_pairs.p[index])
        assert float(rows[name]["low"]) == pytest.approx(-all_pairs.high[index])


def test_without_labels_the_report_says_so(artifacts: Path) -> None:
    unlabelled = {name: value for name, value in metrics(0.8).items() if "auroc" not in name and "dete" not in name}
    fabricate(artifacts, {"net": unlabelled})
    fabricate_baseline(artifacts, "knn", 0.0, labelled=False)
    for path in artifacts.glob("*/*/scores.csv"):
        path.write_text(path.read_text().replace(",eight,1,", ",seven,0,"))
    board = compare(["net"], Params(), artifacts, baselines=["knn"])
    assert board["findings"] == [
        "Test holds no labelled anomalies, so that simple methods show their false alarms and nothing else"
    ]
    assert "against_winner" not in board["baselines"]["knn"]
    page = (artifacts / "compare/report.html").read_text()
    assert "only false alarms can be shown" in page and "AUROC" not in page


def test_leftovers_missing_results_and_other_records_are_refused(artifacts: Path) -> None:
    compared(artifacts, knn=1.0)
    with pytest.raises(UserError, match=r"artifacts/baseline/knn: is left over .* `python -m flows.running.prune`"):
        compare(["net", "pca"], Params(), artifacts)
    with pytest.raises(UserError, match=r"baseline/new/metrics.json: is missing; run `dvc repro baseline@new`"):
        compare(["net", "pca"], Params(), artifacts, baselines=["knn", "new"])
    path = artifacts / "baseline/knn/scores.csv"
    path.write_text(path.read_text().replace("seven", "eight", 1))
    with pytest.raises(UserError, match="net and knn: cannot be compared record by record, the order of their records"):
        compare(["net", "pca"], Params(), artifacts, baselines=["knn"])

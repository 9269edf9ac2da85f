"""The champion match: fair (only records new to the champion, the same for both) and with an honest interval.

References: squared errors by NumPy from onnxruntime's reconstructions, AUROC by scikit-learn; of tables, scores by
onnxruntime.
"""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from made_tables import COLUMNS, make_artifacts
from publications import MLFLOWS_OWN, SCORER, WINNER, rewrite, write_scorer
from sklearn.metrics import roc_auc_score

from components.data.splits import load_anomalous, load_manifest
from components.export import export
from components.params.export import Params
from components.publishing.chosen import Chosen
from components.publishing.listing import digest_records, digest_split, list_records, was_fitted
from components.publishing.match import Incomparable, Match, play
from components.publishing.version import write_model

pytestmark = [pytest.mark.filterwarnings(warning) for warning in MLFLOWS_OWN]
PREPARED = Path("artifacts/prepare")
TABLE_SCORER = Path("artifacts/export/v/scorer.onnx")


@pytest.fixture
def champion(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A version of middling quality; the checkout it comes from is the working directory."""
    monkeypatch.chdir(checkout)
    write_scorer(12)
    write_model(tmp_path / "champion", Chosen(WINNER))
    return tmp_path / "champion"


def match(champion: Path, size: int = 20, rule: str = "mse_ratio_to_pca") -> Match:
    return play(champion, write_scorer(size), rule, 200, 0)


def replace_records(name: str, records: np.ndarray) -> None:
    path = PREPARED / f"{name}.npy"
    path.unlink()
    np.save(path, records)


def normal_rows() -> np.ndarray:
    return np.flatnonzero(~load_anomalous("test", load_manifest()))


def error(scorer: Path, records: np.ndarray) -> float:
    (x_hat,) = onnxruntime.InferenceSession(scorer).run(["reconstruction"], {"input": records})
    return float(np.square(x_hat - records / 16).mean())


def test_the_difference_is_the_share_of_the_champions_error_that_is_saved(champion: Path) -> None:
    found = match(champion)
    records = np.load(PREPARED / "test.npy")[normal_rows()]
    expected = 1 - error(SCORER, records) / error(champion / "artifacts/scorer.onnx", records)
    assert found.difference == pytest.approx(expected, rel=1e-5)
    assert 0 < found.low < found.difference < found.high < 1
    assert (found.records, found.excluded) == (len(records), 0)
    assert f"squared error -{expected:.1%} [" in str(found)


def test_a_worse_challenger_and_the_champion_itself(champion: Path) -> None:
    assert match(champion, 6).high < 0
    same = match(champion, 12)
    assert (same.difference, same.low, same.high) == pytest.approx((0, 0, 0), abs=1e-6)


def test_both_are_judged_in_the_challengers_units(champion: Path) -> None:
    fair = match(champion)
    write_scorer(12, champion / "artifacts/scorer.onnx", scale=64)
    rewrite(champion / "provenance/manifest.json", scaling={"shift": [0.0], "scale": [64.0]})
    assert match(champion).difference == pytest.approx(fair.difference, rel=1e-4)


def test_records_that_the_champion_was_fitted_to_do_not_count(champion: Path) -> None:
    whole = match(champion)
    records, rows = np.load(PREPARED / "test.npy"), normal_rows()
    records[rows[:50]] = np.load(PREPARED / "calibration.npy")[:50]
    replace_records("test", records)
    part = match(champion)
    assert (part.excluded, part.records) == (50, whole.records - 50)
    records[rows] = np.load(PREPARED / "train.npy")[: len(rows)]
    replace_records("test", records)
    with pytest.raises(Incomparable, match="only 0 normal test records are new to the champion, a match takes 30"):
        match(champion)


def test_other_inputs_are_no_match(champion: Path) -> None:
    rewrite(champion / "provenance/manifest.json", item_shape=[1, 16, 16])
    text = (
        r"it takes other inputs \(image 1x8x8 uint8 of 0 to 16\) than the champion \(image 1x16x16 uint8 of 0 to 16\)"
    )
    with pytest.raises(Incomparable, match=text):
        match(champion)
    (champion / "provenance/listing.npy").unlink()
    with pytest.raises(Incomparable, match=r"the champion comes without listing\.npy"):
        match(champion)


def test_by_auroc_the_scores_are_compared(champion: Path) -> None:
    found = match(champion, rule="auroc")
    records, anomalous = np.load(PREPARED / "test.npy"), load_anomalous("test", load_manifest())
    before, after = (
        onnxruntime.InferenceSession(path).run(["score"], {"input": records})[0]
        for path in (champion / "artifacts/scorer.onnx", SCORER)
    )
    assert found.difference == pytest.approx(roc_auc_score(anomalous, after) - roc_auc_score(anomalous, before))
    assert found.low < found.difference < found.high and "AUROC" in str(found)


def test_records_are_recognised_in_any_split_and_order(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout)
    listing = list_records()
    for split, fitted in {"train": True, "validation": True, "calibration": True, "test": False}.items():
        records = np.load(PREPARED / f"{split}.npy")[::-1]
        assert (was_fitted(listing, digest_records(records)) == fitted).all(), split
    assert not was_fitted(listing, digest_records(np.full((1, 1, 8, 8), 255, np.uint8))).any()
    assert (np.diff(listing["digest"].astype(float)) >= 0).all() and listing.itemsize == 9


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A champion that is PCA, in a working directory whose challenger is an untrained network."""
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    for name in ("dvc.lock", "params.yaml", "requirements.lock"):
        Path(name).write_text("")
    for model in ("pca", "vanilla"):
        make_artifacts(Path("artifacts"), model)
        export("v", Params(), threads=1, artifacts=Path("artifacts"))
        if model == "pca":
            write_model(tmp_path / "champion", Chosen("v"))
            shutil.rmtree("artifacts")
    return tmp_path / "champion"


def test_tables_are_matched_by_score_where_their_features_are_the_same(table: Path) -> None:
    rows = pd.read_parquet(PREPARED / "test.parquet")
    feed = {c.name: rows[c.name].to_numpy(object if c.levels else np.float32) for c in COLUMNS}
    before, after = (
        onnxruntime.InferenceSession(path).run(["score"], feed)[0].mean(dtype=np.float64)
        for path in (table / "artifacts/scorer.onnx", TABLE_SCORER)
    )
    found = play(table, TABLE_SCORER, "mse_ratio_to_pca", 200, 0)
    assert found.difference == pytest.approx(1 - after / before, rel=1e-5)
    assert (found.records, found.excluded) == (150, 0) and found.high < 0  # the challenger was not trained
    rewrite(PREPARED / "manifest.json", digests={"preprocess.onnx": "1" * 64})
    with pytest.raises(Incomparable, match=r"it makes other features .*; with .* set compare\.winner to auroc"):
        play(table, TABLE_SCORER, "mse_ratio_to_pca", 200, 0)


def test_tables_with_other_features_are_matched_by_auroc_whatever_their_dates_count_from(table: Path) -> None:
    labels = np.arange(150) % 3 // 2
    replace_records("test_labels", labels)
    rewrite(PREPARED / "manifest.json", classes=["good", "bad"], normal_classes=["good"], digests={})
    whole = play(table, TABLE_SCORER, "auroc", 50, 0)
    assert whole.records == 150
    champion = json.loads((table / "provenance/manifest.json").read_text())
    champion["columns"][1]["origin"] = "2000-01-01"  # 7,305 days earlier, so the same dates are as many days more
    rewrite(table / "provenance/manifest.json", columns=champion["columns"])
    moved = play(table, TABLE_SCORER, "auroc", 50, 0)
    shifted = onnx.load(table / "artifacts/scorer.onnx")
    for tensor in shifted.graph.initializer:
        if tensor.name == "since.mean":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(700 + 7305, np.float32), tensor.name))
    onnx.save(shifted, table / "artifacts/scorer.onnx")
    assert play(table, TABLE_SCORER, "auroc", 50, 0).difference == pytest.approx(whole.difference, abs=1e-6)
    assert moved.difference != whole.difference
    champion["columns"][0]["kind"] = "categorical"
    rewrite(table / "provenance/manifest.json", columns=champion["columns"])
    with pytest.raises(
        Incomparable, match=r"\(columns age: numeric, .*\) than the champion \(columns age: categorical"
    ):
        play(table, TABLE_SCORER, "auroc", 50, 0)


def test_a_tables_rows_are_recognised_in_any_column_order_and_from_any_origin(table: Path) -> None:
    listing = list_records()
    rows = pd.read_parquet(PREPARED / "train.parquet")
    rows["since"] += 10
    moved = [replace(c, origin="2019-12-22") if c.origin else c for c in COLUMNS]
    rewrite(PREPARED / "manifest.json", columns=[asdict(column) for column in moved[::-1]])
    (PREPARED / "train.parquet").unlink()
    rows[rows.columns[::-1]].to_parquet(PREPARED / "train.parquet", index=False)
    assert was_fitted(listing, digest_split("train")).all()
    assert not was_fitted(listing, digest_split("test")).any()
    rows["city"] = rows["city"] + "x"
    rows.to_parquet(PREPARED / "train.parquet", index=False)
    assert not was_fitted(listing, digest_split("train")).any()

"""The stage `evaluate`: its numbers, its tables, its pictures and its findings.

References: scikit-learn (PCA fitted on the same records, rankings from the written scores), the splits themselves, and
doctored findings for every verdict of every check.
"""

import csv
import json
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fabricated import by_squared_error
from scipy.stats import ks_2samp
from sklearn.decomposition import PCA as Reference  # noqa: N811 - a class, in spite of its capitals
from sklearn.metrics import average_precision_score, roc_auc_score

from components.data.columns import Column
from components.data.item import Item
from components.data.scaling import Scale
from components.data.splits import load_anomalous, load_manifest, load_records
from components.diagnosing import diagnose
from components.diagnosing.tested import CHECKS, Findings
from components.evaluate import Evaluation, evaluate
from components.models.pca import PCA
from components.models.pca import Params as PcaParams
from components.params.evaluate import Params
from components.reporting import calibration_plots, plots, table_plots
from components.reporting.pictures import draw
from components.runtime.errors import UserError
from components.scoring.conformal import Calibration
from components.scoring.judged import Judged
from components.scoring.score import score_records
from components.training.weights import MODEL, load_config, load_untrained, save_weights

FEW = Params(bootstrap=100, pictures=4)


def judge(root: Path, variant: str = "vanilla", params: Params = FEW) -> Evaluation:
    """Evaluate a variant of a checkout anew."""
    artifacts = root / "artifacts"
    return evaluate(artifacts / "train" / variant, artifacts / "threshold" / variant, artifacts / "prepare", params, 7)


def written(finished: Path, variant: str, name: str) -> object:
    return json.loads((finished / "artifacts/evaluate" / variant / name).read_text())


def scaled(finished: Path, split: str) -> np.ndarray:
    """Normal digits of a split in 0..1, one row each."""
    prepared = finished / "artifacts/prepare"
    rows = load_records(split, prepared)[~load_anomalous(split, load_manifest(prepared), prepared)]
    return rows.reshape(len(rows), -1) / 16


@pytest.mark.parametrize("variant", ["pca", "vanilla"])
def test_every_model_stands_beside_pca_at_its_own_code_size(finished: Path, variant: str) -> None:
    metrics = written(finished, variant, "metrics.json")
    fitted = Reference(metrics["latent_dim"], svd_solver="full").fit(scaled(finished, "train"))
    test = scaled(finished, "test")
    distance = np.abs(fitted.inverse_transform(fitted.transform(test)) - test)
    assert metrics["pca_mse"] == pytest.approx(np.square(distance).mean(), rel=1e-4)
    assert metrics["pca_l1"] == pytest.approx(distance.mean(), rel=1e-4)
    assert metrics["mse_ratio_to_pca"] == pytest.approx(metrics["mse"] / metrics["pca_mse"], rel=1e-6)
    assert metrics["mse_ratio_to_pca_low"] <= metrics["mse_ratio_to_pca"] <= metrics["mse_ratio_to_pca_high"]


def test_pca_beside_itself_is_even_and_a_network_is_better_than_untrained(finished: Path) -> None:
    pca, vanilla = (written(finished, variant, "metrics.json") for variant in ("pca", "vanilla"))
    assert (pca["mse_ratio_to_pca_low"], pca["mse_ratio_to_pca_high"]) == (1, 1)
    assert "untrained_mse" not in pca
    assert "bce" not in pca  # a linear reconstruction leaves 0..1
    assert vanilla["mse"] < vanilla["untrained_mse"] / 2
    untrained = load_untrained(finished / "artifacts/train/vanilla")
    prepared = finished / "artifacts/prepare"
    manifest = load_manifest(prepared)
    errors = score_records(untrained, Scale(manifest), load_records("test", prepared))
    area = roc_auc_score(load_anomalous("test", manifest, prepared), errors)
    assert vanilla["untrained_auroc"] == pytest.approx(area)
    assert vanilla["untrained_auroc_low"] < area < vanilla["untrained_auroc_high"]
    assert "untrained_auroc" not in pca
    assert vanilla["bce"] > 0
    fit = json.loads((finished / "artifacts/train/vanilla/fit.json").read_text())
    assert vanilla["validation_mse_ratio_to_pca_high"] == fit["validation_mse_ratio_to_pca_high"]


def test_scores_csv_is_the_table_behind_the_metrics(finished: Path) -> None:
    metrics, promise = written(finished, "vanilla", "metrics.json"), finished / "artifacts/threshold/vanilla"
    with (finished / "artifacts/evaluate/vanilla/scores.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["record"]) for row in rows] == list(
        range(len(load_records("test", finished / "artifacts/prepare")))
    )
    labels = np.array([row["is_anomalous"] == "1" for row in rows])
    assert labels.tolist() == [row["class"] in ("8", "9") for row in rows]
    scores = np.array([float(row["score"]) for row in rows])
    assert metrics["auroc"] == pytest.approx(roc_auc_score(labels, scores))
    assert metrics["average_precision"] == pytest.approx(average_precision_score(labels, scores))
    assert metrics["mse"] == pytest.approx(scores[~labels].mean(), rel=1e-6)
    calibration = np.load(promise / "calibration_scores.npy")
    expected = [(1 + (calibration >= np.float32(score)).sum()) / (len(calibration) + 1) for score in scores]
    assert [float(row["p_value"]) for row in rows] == pytest.approx(expected, rel=1e-8)
    alarm = np.array([row["is_alarm"] == "1" for row in rows])
    assert (alarm == (scores.astype(np.float32) > metrics["threshold"])).all()
    assert metrics["false_alarm_rate"] == alarm[~labels].mean()
    assert metrics["detection_rate"] == alarm[labels].mean()
    usual = json.loads((finished / "artifacts/train/vanilla/fit.json").read_text())["training_error_p95"]
    assert metrics["training_rule_false_alarm_rate"] == pytest.approx((scores[~labels] > usual).mean())


def test_the_promise_is_checked_on_normal_test_records_at_every_alpha(finished: Path) -> None:
    folder, metrics = finished / "artifacts/evaluate/vanilla", written(finished, "vanilla", "metrics.json")
    scored, promised = (pd.read_csv(folder / name) for name in ("scores.csv", "validity.csv"))
    normal = scored[scored["is_anomalous"] == 0]
    n = len(calibration := np.load(finished / "artifacts/threshold/vanilla/calibration_scores.npy"))
    assert promised["alpha"].iloc[[0, -1]].tolist() == pytest.approx([1 / (n + 1), 0.5])
    for alpha, realised in zip(promised["alpha"], promised["realised"], strict=True):
        assert realised == pytest.approx((normal["p_value"] <= alpha + 1e-9).mean())
    inside = promised["realised"].between(promised["low"] - 1e-9, promised["high"] + 1e-9)
    assert inside.all() == (metrics["validity_p"] > 0.05)
    smirnov = ks_2samp(calibration, normal["score"].to_numpy(np.float32))
    assert metrics["exchangeability_p"] == pytest.approx(smirnov.pvalue)
    assert metrics["exchangeability_p"] > 0.01  # digits are dealt from one pool


def test_a_test_split_of_another_kind_is_told(finished: Path, tmp_path: Path) -> None:
    artifacts, prepared = finished / "artifacts", tmp_path / "prepare"
    shutil.copytree(artifacts / "prepare", prepared)
    darker = load_records("test", prepared) // 2 + 4
    np.save(prepared / "test.npy", darker)
    found = evaluate(artifacts / "train/vanilla", artifacts / "threshold/vanilla", prepared, FEW, 7)
    assert max(found.metrics["exchangeability_p"], found.metrics["validity_p"]) < 0.001
    assert not found.validity.inside.all()
    assert {finding.code: finding.verdict for finding in found.diagnosis}["not_exchangeable"] == "warning"


def test_it_reads_the_test_and_selection_splits_only(finished: Path, tmp_path: Path) -> None:
    for name in ("manifest.json", "test.npy", "test_labels.npy", "selection.npy", "selection_labels.npy"):
        shutil.copy(finished / "artifacts/prepare" / name, tmp_path)
    artifacts = finished / "artifacts"
    found = evaluate(artifacts / "train/vanilla", artifacts / "threshold/vanilla", tmp_path, FEW, 7)
    assert found.metrics == judge(finished).metrics


def test_without_labels_nothing_is_said_about_anomalies(finished: Path, tmp_path: Path) -> None:
    prepared = tmp_path / "prepare"
    shutil.copytree(finished / "artifacts/prepare", prepared)
    manifest = json.loads((prepared / "manifest.json").read_text())
    (prepared / "manifest.json").write_text(json.dumps({**manifest, "classes": [], "normal_classes": []}))
    for split in ("test", "selection"):
        np.save(prepared / f"{split}_labels.npy", np.full(len(load_records(split, prepared)), -1))
    artifacts = finished / "artifacts"
    found = evaluate(artifacts / "train/vanilla", artifacts / "threshold/vanilla", prepared, FEW, 7)
    assert not {"auroc", "pca_auroc", "selection_auroc", "detection_rate", "anomalous_records"} & found.metrics.keys()
    assert found.metrics["normal_records"] == len(load_records("test", prepared))
    draw(found.judged, artifacts / "train/vanilla/history.csv", 0, 4, tmp_path / "plots")
    assert "anomalous" not in (tmp_path / "plots/errors.svg").read_text()


def test_pictures_are_equal_bytes_without_dates_and_fit_any_background(finished: Path, tmp_path: Path) -> None:
    folder, names = (
        finished / "artifacts/evaluate/vanilla/plots",
        ("anomalies", "codes", "errors", "losses", "mistakes", "p_values", "reconstructions", "validity"),
    )
    assert sorted(path.stem for path in folder.iterdir()) == list(names)
    assert not (folder.parent.parent / "pca/plots/losses.svg").exists()  # a closed form has no epochs
    trained = finished / "artifacts/train/vanilla"
    found = judge(finished, params=Params())
    draw(
        found.judged,
        trained / "history.csv",
        load_config(trained)["best_epoch"],
        10,
        tmp_path / "again",
    )
    calibration_plots.draw(found.validity, found.p_values, 0.05, tmp_path / "again")
    for path in folder.iterdir():
        svg = path.read_text()
        if path.stem not in ("anomalies", "mistakes", "reconstructions"):  # they show as many records as FEW says
            assert svg == (tmp_path / "again" / path.name).read_text(), path.name
        assert "<dc:date>" not in svg
        assert str(finished) not in svg
        ET.fromstring(svg)  # noqa: S314 - our own file
        colours = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", svg))
        assert colours <= {plots.INK, plots.NORMAL, plots.ANOMALOUS, plots.THIRD, plots.FOURTH}, path.name


def test_rows_have_pictures_too_even_with_a_code_of_one_number(tmp_path: Path) -> None:
    records = np.random.default_rng(0).normal(size=(80, 5)).astype(np.float32)
    model, raw = PCA(Item((5,), unit_range=False), PcaParams(latent_dim=1)), torch.nn.Identity()
    model.fit([torch.from_numpy(records.copy())])
    records[0] = 1e30  # its square is infinite in float32
    scores = score_records(model, raw, records)
    calibration = Calibration.fit(scores[1:41], 0.05)
    labels = np.arange(80) >= 70
    judged = Judged(by_squared_error(model), raw, calibration, records, ["a rather long class"] * 80, labels, scores)
    draw(judged, tmp_path / "no history", None, 4, tmp_path / "plots")
    found = {path.stem: path.read_text() for path in (tmp_path / "plots").iterdir()}
    assert sorted(found) == ["anomalies", "codes", "errors", "mistakes", "reconstructions"]
    assert "Errors per column" in found["reconstructions"]
    assert found["anomalies"].count("a rather…: ") == 4
    assert "a rather…: inf" in found["anomalies"]
    assert ">score<" in found["codes"]
    assert "<title>record 79, a rather…: " in found["codes"], "a mark tells which record it is"
    assert "<a " not in found["codes"]


def test_a_tables_pictures_name_the_columns_that_explain_alarms(tmp_path: Path) -> None:
    records = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    records[:8, 1:] *= 9
    columns = [Column("$a_1", "numeric", 0, 1, []), Column("a column with a very long name", "numeric", 1, 3, [])]
    model, raw = PCA(Item((3,), unit_range=False), PcaParams(latent_dim=1)), torch.nn.Identity()  # rebuilds zeros
    scored = score_records(model, raw, records)
    calibration = Calibration.fit(scored[8:], 0.05)
    strange = np.arange(80) < 8
    judged = Judged(by_squared_error(model), raw, calibration, records, [""] * 80, strange, scored, columns)
    draw(judged, tmp_path / "no history", None, 4, tmp_path / "plots")
    found = {path.stem: path.read_text() for path in (tmp_path / "plots").iterdir()}
    assert sorted(found) == ["anomalies", "codes", "columns", "errors", "mistakes"]
    for text in (found["columns"], found["anomalies"]):
        assert ">$a_1<" in text and ">a column with a very lo…<" in text
    assert found["columns"].index(">a column") < found["columns"].index(">$a_1<")  # it explains more, it comes first
    quiet = table_plots.explained(np.ones(2), None, ["a", "b"])
    assert [label.get_text() for label in quiet.axes[0].get_legend().get_texts()] == ["records without an alarm"]


def test_an_untrained_network_is_found_out(finished: Path, tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"
    for part in ("prepare", "train/vanilla", "threshold/vanilla"):
        shutil.copytree(finished / "artifacts" / part, artifacts / part)
    save_weights(load_untrained(artifacts / "train/vanilla"), artifacts / "train/vanilla" / MODEL)
    verdicts = {finding.code: finding.verdict for finding in judge(tmp_path).diagnosis}
    assert (verdicts["untrained"], verdicts["worse_than_pca"]) == ("problem", "problem")


def healthy() -> Findings:
    metrics = {
        "mse": 0.1, "untrained_mse": 1.0,
        "mse_ratio_to_pca": 0.5, "mse_ratio_to_pca_low": 0.4, "mse_ratio_to_pca_high": 0.6,
        "training_rule_false_alarm_rate": 0.06, "training_rule_false_alarm_rate_low": 0.04,
        "exchangeability_p": 0.02,
    }  # fmt: skip
    return Findings(metrics, weight_change=0.8, scores=np.arange(100.0), distinct_records=100)


def with_metrics(**metrics: float) -> Callable[[Findings], Findings]:
    return lambda findings: replace(findings, metrics={**findings.metrics, **metrics})


def with_scores(*scores: float) -> Callable[[Findings], Findings]:
    return lambda findings: replace(findings, scores=np.array(scores), distinct_records=len(scores))


@pytest.mark.parametrize(
    ("code", "verdict", "doctored"),
    [
        ("untrained", "problem", lambda findings: replace(findings, weight_change=0.0)),
        ("untrained", "problem", with_metrics(mse=0.95)),
        ("untrained", "warning", with_metrics(mse=0.6)),
        ("untrained", "not_applicable", lambda findings: replace(findings, weight_change=None)),
        ("indistinct_scores", "problem", with_scores(1, 1, 1, 1)),
        ("indistinct_scores", "warning", with_scores(1, 1, 2, 3, 4)),
        ("not_finite", "problem", with_scores(1, 2, np.nan)),
        ("worse_than_pca", "problem", with_metrics(mse_ratio_to_pca_low=1.1, mse_ratio_to_pca_high=1.3)),
        ("worse_than_pca", "warning", with_metrics(mse_ratio_to_pca_high=1.2)),
        ("worse_than_pca", "not_applicable", lambda findings: replace(findings, weight_change=None)),
        ("not_exchangeable", "warning", with_metrics(exchangeability_p=0.009)),
        ("overfit", "problem", with_metrics(training_rule_false_alarm_rate_low=0.3)),
        ("overfit", "warning", with_metrics(training_rule_false_alarm_rate_low=0.2)),
    ],
)  # fmt: skip
def test_each_check_finds_its_own_fault(code: str, verdict: str, doctored: Callable[[Findings], Findings]) -> None:
    assert {finding.verdict for finding in diagnose(CHECKS, healthy())} == {"ok"}
    found = {finding.code: finding for finding in diagnose(CHECKS, doctored(healthy()))}
    assert found[code].verdict == verdict
    assert (found[code].value is None) == (verdict == "not_applicable")


def test_every_finding_has_a_title_and_a_remedy(finished: Path) -> None:
    findings = written(finished, "vanilla", "diagnosis.json")
    assert [finding["code"] for finding in findings] == [check.code for check in CHECKS]
    assert all(finding["title"] and finding["remedy"] for finding in findings)


def test_a_missing_threshold_names_its_stage(finished: Path, tmp_path: Path) -> None:
    artifacts = finished / "artifacts"
    with pytest.raises(UserError, match="is missing; run `dvc repro threshold@nothing` first"):
        evaluate(artifacts / "train/vanilla", tmp_path / "nothing", artifacts / "prepare", FEW, 7)

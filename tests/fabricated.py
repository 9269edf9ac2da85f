"""A made-up but complete set of results, as the stages before compare leave them: fast, and bent at will by a test."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from components.models import Autoencoder
from components.scores.reconstruction import SCORE
from components.scoring.detector import Detector
from components.scoring.metrics import ranking

_KINDS = ("seven", "eight")
_DECIDED = ("false_alarms", "normal_records", "false_alarm_rate", "false_alarm_low", "false_alarm_high", "alpha")
SVG = """<?xml version="1.0" encoding="utf-8" standalone="no"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="360pt" height="90pt"
 viewBox="0 0 360 90" version="1.1">
 <metadata><about>http://www.w3.org/</about></metadata>
 <defs><style type="text/css">*{stroke-linejoin: round}</style>
 <path id="mark" d="M 0 9 L 9 0" style="stroke: INK"/></defs>
 <g clip-path="url(#box)"><use xlink:href="#mark" x="20" y="40" onclick="alert(1)"/></g>
 <script>alert(2)</script>
 <text x="10" y="70" style="font: 10px 'DejaVu Sans'; fill: INK">TEXT</text>
 <defs><clipPath id="box"><rect width="360" height="90"/></clipPath></defs>
</svg>
"""
"""What matplotlib writes, in small, with what must not reach a page."""


def by_squared_error(model: Autoencoder) -> Detector:
    """A detector that scores by the mean squared error, as params.yaml has it by default."""
    return Detector(model, {"reconstruction": SCORE.build(SCORE.params(), model.item, {})}, "log_sum", {}).eval()


def metrics(ratio: float, **changed: Any) -> dict[str, Any]:
    """metrics.json of a model whose squared error is `ratio` times PCA's, on validation and on test."""
    return {
        "mse": 0.03 * ratio, "l1": 0.09 * ratio, "huber": 0.012 * ratio, "psnr": 15.2 / ratio, "bce": 0.31,
        "pca_mse": 0.03, "pca_l1": 0.09, "pca_huber": 0.012, "pca_psnr": 15.2, "untrained_mse": 0.21,
        "mse_ratio_to_pca": ratio, "mse_ratio_to_pca_low": ratio - 0.04, "mse_ratio_to_pca_high": ratio + 0.05,
        "validation_mse": 0.031 * ratio, "validation_mse_ratio_to_pca": ratio,
        "validation_mse_ratio_to_pca_low": ratio - 0.05, "validation_mse_ratio_to_pca_high": ratio + 0.06,
        "false_alarms": 9, "normal_records": 203, "false_alarm_rate": 9 / 203,
        "false_alarm_low": 0.0204, "false_alarm_high": 0.0825,
        "false_alarm_excess_p": 0.68, "false_alarm_deficit_p": 0.44,
        "training_rule_false_alarm_rate": 0.118, "training_rule_false_alarm_rate_low": 0.077,
        "training_rule_false_alarm_rate_high": 0.171,
        "validity_p": 0.41, "exchangeability_p": 0.37,
        "alpha": 0.05, "threshold": 0.0527, "upper_95": 0.0759,
        "auroc": 0.964, "auroc_low": 0.949, "auroc_high": 0.977, "pca_auroc": 0.931,
        "untrained_auroc": 0.871, "untrained_auroc_low": 0.84, "untrained_auroc_high": 0.9,
        "average_precision": 0.979, "average_precision_low": 0.968, "average_precision_high": 0.987,
        "fpr_at_95_tpr": 0.163, "fpr_at_95_tpr_low": 0.098, "fpr_at_95_tpr_high": 0.241,
        "anomalous_records": 277, "detection_rate": 0.819, "detection_rate_low": 0.768, "detection_rate_high": 0.863,
        "selection_auroc": 0.958, "selection_auroc_low": 0.921, "selection_auroc_high": 0.986,
        "latent_dim": 8, "parameters": 101_000,
        **changed,
    }  # fmt: skip


def pca_metrics(**changed: Any) -> dict[str, Any]:
    """metrics.json of PCA itself: its ratio is 1 in every resample, and it has no untrained twin."""
    ones = {name: 1.0 for name in metrics(1) if "ratio_to_pca" in name}
    numbers = metrics(1, parameters=576, auroc=0.931, auroc_low=0.908, auroc_high=0.951, **ones) | changed
    return {name: value for name, value in numbers.items() if not name.startswith("untrained_") and name != "bce"}


def validation(**changed: Any) -> dict[str, Any]:
    """validation.json with a check of every verdict."""
    verdicts = {"duplicates": ("warning", 0.2, "360 of 1800 records repeat another; allowed are 10 %"),
                "near_constant": ("ok", 0.0, "0 of 1800 images; allowed are 1 %"),
                "schema": ("not_applicable", None, ""), "label_balance": ("off", None, "")}  # fmt: skip
    findings = [
        {"code": code, "title": f"The data has the fault {code}", "severity": "warning", "verdict": verdict,
         "value": value, "found": found, "remedy": "mend the data"}
        for code, (verdict, value, found) in verdicts.items()
    ]  # fmt: skip
    rejected = {"a.png": "is truncated"}
    return {"findings": findings, "files": 1801, "rejected": rejected, "missing": {}, **changed}


def fabricate(artifacts: Path, numbers: dict[str, dict[str, Any]], text: str = "loss", ink: str = "#123456") -> Path:
    """Write results of the given variants; `numbers` is each one's metrics.json, `text` stands in every figure."""
    for name, of in numbers.items():
        digest = hashlib.sha256(name.encode()).hexdigest()
        model = name if name in ("pca", "conv") else "vanilla"
        config = {
            "variant": name, "model": model, "params": {"latent_dim": 8, "hidden": [256, 128]}, "base": None,
            "base_params": None, "item": {"shape": [1, 8, 8], "unit_range": True, "groups": []},
            "loss": "bce", "seed": 7,
            "precision": "float32", "train": {"epochs": 150, "learning_rate": 0.003}, "parameters": of["parameters"],
            "best_epoch": 148, "epochs_run": 150, "data_digest": hashlib.sha256(b"data").hexdigest(),
        }  # fmt: skip
        diagnosis = [
            {"code": "overfit", "title": "Unseen records are reconstructed worse", "verdict": "warning", "value": 0.118,
             "remedy": "add records"},
            {"code": "untrained", "title": "Training achieved little", "verdict": "not_applicable", "value": None,
             "remedy": "train longer"},
        ]  # fmt: skip
        files = ("scorer.onnx", "encoder.onnx", "reconstructor.onnx", "model.torchscript.pt")
        parity = {
            "records": 480, "records_in_all_batches": 480, "batches": [1, 2, 7, 64], "large_batch": 4096,
            "passed": True, "tolerance": {"relative": 1e-4},
            "files": {file: {"sha256": digest, "bytes": 412_345, "opset": 20} for file in files},
            "scorer": {
                "max_abs_difference": {"score": 1.5e-8}, "mean_abs_difference": {"score": 2e-9},
                "rank_correlation": 1.0, "flips": 0, "flips_outside_tolerance": 0, "furthest_flip": None,
            },
        }  # fmt: skip
        threshold = {
            "alpha": 0.05, "n": 216, "m": 10, "threshold": 0.0527, "upper_95": 0.0759, "method": "split_conformal",
            "confidence": None,
        }  # fmt: skip
        _write(artifacts / "train" / name / "config.json", config)
        _write(artifacts / "threshold" / name / "threshold.json", threshold)
        _write(artifacts / "evaluate" / name / "metrics.json", of)
        _write(artifacts / "train" / name / "diagnosis.json", [])
        _write(artifacts / "evaluate" / name / "diagnosis.json", diagnosis)
        _write(artifacts / "export" / name / "parity.json", parity)
        _write(artifacts / "compress" / name / "compression.json", {})
        _write(artifacts / "seeds" / name / "seeds.json", [{"seed": 7, "validation_mse": of["validation_mse"]}])
        _write_records(artifacts, name, of)
        plots = artifacts / "evaluate" / name / "plots"
        plots.mkdir(exist_ok=True)
        for figure in ("errors", "losses"):
            (plots / f"{figure}.svg").write_text(SVG.replace("INK", ink).replace("TEXT", text))
    manifest = {
        "kind": "image", "item_shape": [1, 8, 8], "dtype": "uint8", "classes": ["seven", "eight"],
        "normal_classes": ["seven"], "value_range": [0, 16], "scaling": {"shift": [0], "scale": [16]},
        "counts": {
            "train": {"seven": 800}, "validation": {"seven": 140}, "calibration": {"seven": 216},
            "selection": {"seven": 70, "eight": 77}, "test": {"seven": 203, "eight": 277},
        },
        "digests": {"train.npy": hashlib.sha256(b"train").hexdigest()}, "dropped": {"the same record twice": 3},
        "source": {"name": "digits", "version": "scikit-learn 1.9.0"},
    }  # fmt: skip
    _write(artifacts / "prepare" / "manifest.json", manifest)
    _write(artifacts / "prepare" / "validation.json", validation())
    (artifacts / "prepare" / "examples.svg").write_text(SVG.replace("INK", ink).replace("TEXT", text))
    return artifacts


def fabricate_baseline(artifacts: Path, name: str, shift: float, labelled: bool = True) -> None:
    """Write results of a simple method on the same records; `shift` is how much more than a variant it tells apart."""
    scores = 0.03 * np.random.default_rng(0).gamma(4, 0.25, 480)
    scores *= np.random.default_rng(list(name.encode())).normal(1, 0.1, 480)
    scores[203:] *= 2.2 + shift
    anomalous = np.arange(480) >= 203
    numbers = {key: value for key, value in metrics(1).items() if key in _DECIDED}
    if labelled:
        numbers |= {k: v for of, e in ranking(scores, anomalous, 100, 0).items() for k, v in e.named(of).items()}
        numbers |= {"detection_rate": 0.7, "detection_rate_low": 0.6, "detection_rate_high": 0.8}
    own = {"method": "nearest_neighbours", "meaning": "distance to the 5 nearest training records"}
    _write(artifacts / "baseline" / name / "metrics.json", {**own, "fitted_records": 800, **numbers})
    lines = [f"{record},{_KINDS[int(strange)]},{int(strange)},{score}\n"
             for record, (strange, score) in enumerate(zip(anomalous, scores, strict=True))]  # fmt: skip
    (artifacts / "baseline" / name / "scores.csv").write_text("".join(["record,class,is_anomalous,score\n", *lines]))


def _write_records(artifacts: Path, name: str, of: dict[str, Any]) -> None:
    """What is known by record: the same records for all variants, with errors in proportion to their ratios to PCA."""
    theirs = 0.03 * np.random.default_rng(0).gamma(4, 0.25, 480)
    ours = theirs * np.random.default_rng(list(name.encode())).normal(1, 0.1, 480)
    validation = np.stack([ours * of["validation_mse_ratio_to_pca"], theirs])[:, :140]
    np.save(artifacts / "train" / name / "validation_errors.npy", validation.astype(np.float32))
    (artifacts / "train" / name / "history.csv").write_text("epoch,train_loss,validation_loss\n0,0.5,0.6\n1,0.4,0.5\n")
    errors = ours * of["mse_ratio_to_pca"]
    errors[203:] *= 2.2
    test = [f"{record},{_KINDS[record >= 203]},{int(record >= 203)},{error},{error}\n"
            for record, error in enumerate(errors)]  # fmt: skip
    labelled = "selection_auroc" in of
    chosen_on = [f"{record},{int(record >= 70)},{error}\n" for record, error in enumerate(errors[133:280])]
    folder = artifacts / "evaluate" / name
    (folder / "scores.csv").write_text("".join(["record,class,is_anomalous,score,squared_error\n", *test]))
    (folder / "selection.csv").write_text("".join(["record,is_anomalous,score\n", *(chosen_on if labelled else [])]))


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))

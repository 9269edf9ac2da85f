"""Stage `evaluate`: judge a calibrated model on records that nothing was fitted to, beside PCA and itself untrained.

In:   artifacts/train/V, artifacts/threshold/V, the test and selection splits of artifacts/prepare
Out:  artifacts/evaluate/V/ — metrics.json, diagnosis.json, scores.csv (one line per test record), plots/
Run:  python -m components.evaluate V

Errors are means over the normal test records, in scaled units; every interval holds 95 %.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.params import load_globals, load_section
from components.params.evaluate import Params
from components.runtime.errors import run_main
from components.runtime.outputs import ARTIFACTS, complete_dir, read_json, write_json
from components.runtime.process import die_with_parent, make_deterministic, set_threads, variant_argument

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from components.data.splits import Manifest
    from components.models import Autoencoder
    from components.scoring.conformal import Calibration
    from components.scoring.diagnosis import Finding
    from components.scoring.score import Scored

Metrics = dict[str, float]


@dataclass(frozen=True)
class Subject:
    """What is judged, and on what."""

    model: "Autoencoder"
    scale: "nn.Module"
    calibration: "Calibration"
    manifest: "Manifest"
    config: dict[str, Any]
    """config.json of the training."""
    fit: dict[str, float | None]
    """fit.json of the training."""
    records: "np.ndarray"
    """Raw test records (record, *item)."""
    anomalous: "np.ndarray"
    """(record,) bool."""
    classes: list[str]
    """Class name of each record, "" without labels."""
    scored: "Scored"
    """What the model says about them."""


@dataclass(frozen=True)
class Evaluation:
    """What the stage finds."""

    subject: Subject
    metrics: Metrics
    diagnosis: "list[Finding]"


def evaluate(trained: Path, calibrated: Path, prepared: Path, params: Params, seed: int) -> Evaluation:
    """Judge the model in `trained` with the threshold in `calibrated`.

    Raises:
        UserError: an artifact is missing or damaged.
    """
    from components.data.splits import load_anomalous, load_records
    from components.scoring.diagnosis import Findings, diagnose
    from components.scoring.score import score_records
    from components.training.weights import load_pca, load_untrained

    subject = _load(trained, calibrated, prepared)
    pca, untrained = load_pca(trained), load_untrained(trained)
    twin = score_records(pca, subject.scale, subject.records)
    metrics = {
        **_errors(subject, twin, pca, params.bootstrap, seed),
        **_false_alarms(subject),
        **_rankings(subject.scored, twin, subject.anomalous, params.bootstrap, seed),
        **_speciality(subject, seed),
        **{name: value for name, value in subject.fit.items() if name.startswith("validation_mse") and value is not None},
        "latent_dim": subject.config["params"]["latent_dim"],
        "parameters": subject.config["parameters"],
    }
    if untrained is not None:
        before = score_records(untrained, subject.scale, subject.records)
        metrics["untrained_mse"] = float(before.scores[_usable(subject)].mean(dtype="float64"))
    if subject.anomalous.any():
        metrics |= _detection(subject)
        chosen_on = load_anomalous("selection", subject.manifest, prepared)
        selection = score_records(subject.model, subject.scale, load_records("selection", prepared)).scores
        metrics |= _selection_auroc(selection, chosen_on, params.bootstrap, seed)
    findings = Findings(
        metrics=metrics,
        weight_change=subject.fit["weight_change"],
        scores=subject.scored.scores,
        distinct_records=len({record.tobytes() for record in subject.records}),
    )
    return Evaluation(subject, metrics, diagnose(findings))


def _load(trained: Path, calibrated: Path, prepared: Path) -> Subject:
    from components.data.scaling import Scale
    from components.data.splits import load_anomalous, load_labels, load_manifest, load_records
    from components.scoring.conformal import Calibration
    from components.scoring.score import score_records
    from components.training.weights import load_config, load_model

    manifest = load_manifest(prepared)
    model, scale, records = load_model(trained), Scale(manifest), load_records("test", prepared)
    return Subject(
        model=model,
        scale=scale,
        calibration=Calibration.load(calibrated),
        manifest=manifest,
        config=load_config(trained),
        fit=read_json(trained / "fit.json", f"train@{trained.name}"),
        records=records,
        anomalous=load_anomalous("test", manifest, prepared),
        classes=[manifest.classes[label] if label >= 0 else "" for label in load_labels("test", prepared)],
        scored=score_records(model, scale, records),
    )


def _usable(subject: Subject) -> "np.ndarray":
    """Normal records with a finite score: the others are counted in the diagnosis and cannot be averaged."""
    import numpy as np

    return ~subject.anomalous & np.isfinite(subject.scored.scores)


def _errors(subject: Subject, twin: "Scored", pca: "Autoencoder", resamples: int, seed: int) -> Metrics:
    import numpy as np

    from components.scoring.metrics import mean_ratio, record_errors
    from components.scoring.score import reconstruct

    usable = _usable(subject)
    records, ours, theirs = subject.records[usable], subject.scored.scores[usable], twin.scores[usable]

    def means(model: "Autoencoder") -> Metrics:
        parts = [
            record_errors(*(values.flatten(1).numpy() for values in (batch.x, batch.x_hat)), probabilities=model.loss == "bce", unit)
            for batch in reconstruct(model, subject.scale, records)
        ]
        return {name: float(np.concatenate([part[name] for part in parts]).mean()) for name in parts[0]}

    return {
        "mse": float(ours.mean(dtype=np.float64)),
        "pca_mse": float(theirs.mean(dtype=np.float64)),
        **mean_ratio(ours, theirs, resamples, seed).named("mse_ratio_to_pca"),
        **means(subject.model),
        **{f"pca_{name}": value for name, value in means(pca).items()},
    }

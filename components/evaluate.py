"""Stage `evaluate`: judge a calibrated model on records that nothing was fitted to, beside PCA and itself untrained.

In:   artifacts/train/V, artifacts/threshold/V, the test and selection splits of artifacts/prepare
Out:  artifacts/evaluate/V/ — metrics.json, diagnosis.json, scores.csv (one line per test record), selection.csv,
      validity.csv (promised and realised rates of false alarms), plots/
Run:  python -m components.evaluate V

Errors are means over the normal test records, in scaled units; every interval holds 95 %.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.params import load_globals, load_section
from components.params.evaluate import Params
from components.runtime.errors import UserError, run_main
from components.runtime.outputs import ARTIFACTS, complete_dir, read_json, write_json
from components.runtime.process import die_with_parent, make_deterministic, set_threads, variant_argument

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from components.diagnosing import Finding
    from components.models import Autoencoder
    from components.scoring.judged import Judged
    from components.scoring.validity import Histogram, Validity

Metrics = dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """What the stage finds."""

    judged: "Judged"
    """The test records."""
    squared_errors: "np.ndarray"
    """Of the test records (record,)."""
    selection: "dict[str, np.ndarray]"
    """Kinds and scores of the selection records (record,) each; empty where selection does not hold both kinds."""
    validity: "Validity"
    """How the promise holds on the normal test records at every alpha."""
    p_values: "Histogram"
    """Of the normal test records."""
    metrics: Metrics
    diagnosis: "list[Finding]"


def evaluate(trained: Path, calibrated: Path, prepared: Path, params: Params, seed: int) -> Evaluation:
    """Judge the model in `trained` with the threshold in `calibrated`; `seed` draws resamples and corruptions.

    Raises:
        UserError: an artifact is missing or damaged, or PCA leaves no error to compare with.
    """
    import numpy as np

    from components.data.dealing import content_hashes
    from components.data.scaling import Scale
    from components.data.splits import load_anomalous, load_classes, load_manifest, load_records
    from components.diagnosing import diagnose
    from components.diagnosing.tested import CHECKS, Findings
    from components.scoring.conformal import Calibration
    from components.scoring.decided import decided
    from components.scoring.detector import detect, load_detector
    from components.scoring.judged import Judged
    from components.scoring.metrics import mean_ratio, ranking
    from components.scoring.score import score_records
    from components.scoring.validity import exchangeability, histogram, validity
    from components.training.weights import load_config, load_model, load_pca, load_untrained

    manifest, config = load_manifest(prepared), load_config(trained)
    fit = read_json(trained / "fit.json", f"train@{trained.name}")
    calibration, scale = Calibration.load(calibrated), Scale(manifest)
    records, anomalous = load_records("test", prepared), load_anomalous("test", manifest, prepared)
    model, pca, untrained = load_model(trained), load_pca(trained), load_untrained(trained)
    detector = load_detector(model, calibrated)

    (scores, ours), theirs = detect(detector, scale, records), score_records(pca, scale, records)
    # an error that is not finite is an alarm and a finding of the diagnosis; it has no place in a mean
    usable = np.flatnonzero(~anomalous & np.isfinite(ours))
    if not theirs[usable].any():
        raise UserError(
            f"variants.{trained.name}.latent_dim",
            f"PCA with {config['params']['latent_dim']} components leaves no error to compare with",
            "choose a smaller code",
        )
    kept = validity(calibration.scores, scores[~anomalous], seed)
    metrics: Metrics = {
        "latent_dim": config["params"]["latent_dim"],
        "parameters": config["parameters"],
        **{name: value for name, value in fit.items() if name.startswith("validation_mse")},
        **_errors(model, scale, records, usable),
        **{f"pca_{name}": value for name, value in _errors(pca, scale, records, usable).items()},
        **mean_ratio(ours[usable], theirs[usable], params.bootstrap, seed).named("mse_ratio_to_pca"),
        **decided(scores, anomalous, calibration, params.bootstrap, seed),
        "validity_p": kept.p_value,
        "exchangeability_p": exchangeability(calibration.scores, scores[~anomalous]),
        **_training_rule(ours[~anomalous], fit["training_error_p95"]),
        **_speciality(model, scale, records, usable, seed),
    }
    twins = {"pca": theirs}
    if untrained is not None:
        metrics["untrained_mse"] = _errors(untrained, scale, records, usable)["mse"]
        twins["untrained"] = score_records(untrained, scale, records)
    if anomalous.any():
        for twin, errors in twins.items():
            metrics |= ranking(errors, anomalous, params.bootstrap, seed)["auroc"].named(f"{twin}_auroc")
    chosen_on = load_anomalous("selection", manifest, prepared)
    selection = {"is_anomalous": chosen_on[:0], "score": scores[:0]}
    if chosen_on.any() and not chosen_on.all():
        found, _ = detect(detector, scale, load_records("selection", prepared))
        selection = {"is_anomalous": chosen_on, "score": found}
        estimate = ranking(selection["score"], chosen_on, params.bootstrap, seed)["auroc"]
        metrics |= estimate.named("selection_auroc")

    classes = load_classes("test", manifest, prepared)
    distinct = len(np.unique(content_hashes(records, "distinct"), axis=0))
    return Evaluation(
        Judged(detector, scale, calibration, records, classes, anomalous, scores, manifest.columns),
        ours,
        selection,
        kept,
        histogram(calibration.scores, scores[~anomalous], seed),
        metrics,
        diagnose(CHECKS, Findings(metrics, fit["weight_change"], scores, distinct)),
    )


def _errors(model: "Autoencoder", scale: "nn.Module", records: "np.ndarray", rows: "np.ndarray") -> Metrics:
    """Mean of each error of reconstruction over the chosen rows; its squared error is the score's own."""
    import numpy as np

    from components.objectives import LOSSES
    from components.scoring.metrics import record_errors
    from components.scoring.score import reconstruct, reconstruction_error

    # arrays have no declared range; the one they have here serves every model alike
    peak = 1.0 if model.item.unit_range else _range(scale, records, rows)
    probabilities = LOSSES[model.loss].probabilities
    # summed at once: small arrays kept from every batch would pin the heap between the large ones
    totals: Metrics = {}
    for batch in reconstruct(model, scale, records, rows):
        errors = record_errors(batch.x.flatten(1).numpy(), batch.x_hat.flatten(1).numpy(), peak, probabilities)
        for name, values in {"mse": reconstruction_error(batch.x, batch.x_hat).numpy(), **errors}.items():
            totals[name] = totals.get(name, 0.0) + float(values.sum(dtype=np.float64))
    return {name: total / len(rows) for name, total in totals.items()}


def _range(scale: "nn.Module", records: "np.ndarray", rows: "np.ndarray") -> float:
    """Largest minus smallest scaled value."""
    import torch

    from components.data.batches import raw_batches

    ends = [torch.stack(torch.aminmax(scale(torch.from_numpy(raw)))) for raw in raw_batches(records, rows)]
    return float(torch.stack(ends)[:, 1].max() - torch.stack(ends)[:, 0].min())


def _training_rule(errors: "np.ndarray", training_error_p95: float) -> Metrics:
    """The share of normal records that a percentile of training errors calls strange, for contrast."""
    from components.scoring.metrics import exact_rate

    n = len(errors)
    return exact_rate(n - int((errors <= training_error_p95).sum()), n).named("training_rule_false_alarm_rate")


def _speciality(
    model: "Autoencoder", scale: "nn.Module", records: "np.ndarray", rows: "np.ndarray", seed: int
) -> Metrics:
    """Mean over the chosen rows of each number that the model itself adds."""
    import torch

    from components.scoring.score import reconstruct

    torch.manual_seed(seed)
    totals: Metrics = {}
    with torch.no_grad():
        for batch in reconstruct(model, scale, records, rows):
            for name, values in model.speciality(batch.x).items():
                totals[name] = totals.get(name, 0.0) + float(values.double().sum())
    return {name: total / len(rows) for name, total in totals.items()}


def main() -> None:
    """Run the stage."""
    variant = variant_argument()
    die_with_parent()
    params, numbers = load_section("evaluate"), load_globals()
    set_threads(numbers.threads)
    make_deterministic(numbers.threads)
    from components.reporting import calibration_plots
    from components.reporting.pictures import draw
    from components.scoring.tables import write_records
    from components.training.weights import load_config

    trained = ARTIFACTS / "train" / variant
    found = evaluate(trained, ARTIFACTS / "threshold" / variant, ARTIFACTS / "prepare", params, numbers.seed)
    with complete_dir(ARTIFACTS / "evaluate" / variant) as folder:
        write_json(folder / "metrics.json", found.metrics)
        write_json(folder / "diagnosis.json", [asdict(finding) for finding in found.diagnosis])
        found.judged.write_csv(folder / "scores.csv", found.squared_errors)
        write_records(folder / "selection.csv", found.selection)
        draw(
            found.judged,
            trained / "history.csv",
            load_config(trained).get("best_epoch"),
            params.pictures,
            folder / "plots",
        )
        found.validity.write_csv(folder / "validity.csv")
        calibration_plots.draw(found.validity, found.p_values, found.metrics["alpha"], folder / "plots")
    ratio, alarms, alpha = (found.metrics[name] for name in ("mse_ratio_to_pca", "false_alarm_rate", "alpha"))
    print(f"{variant}: {ratio:.3f} of PCA's squared error, {alarms:.1%} false alarms (alpha {alpha:g})")


if __name__ == "__main__":
    run_main(main)

"""The model card: what an exported scorer is, how well it does, what it promises and what it does not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.data.splits import SPLITS, Manifest
from components.exporting.intake import Intake
from components.models import find
from components.scoring.conformal import Calibration

METRICS: tuple[tuple[str, str, str, str], ...] = (
    ("mse", "Mean squared error, normal records", "mse_low", "mse_high"),
    ("mse_ratio_to_pca", "The same relative to PCA at this code size", "mse_ratio_to_pca_low", "mse_ratio_to_pca_high"),
    ("psnr", "Peak signal-to-noise ratio, dB", "psnr_low", "psnr_high"),
    ("false_alarm_rate", "False-alarm rate, normal records", "false_alarm_low", "false_alarm_high"),
    ("detection_rate", "Detection rate, anomalous records", "detection_rate_low", "detection_rate_high"),
    ("auroc", "AUROC", "auroc_low", "auroc_high"),
    ("average_precision", "Average precision", "average_precision_low", "average_precision_high"),
    ("fpr_at_95_tpr", "False-positive rate at 95 % detection", "fpr_at_95_tpr_low", "fpr_at_95_tpr_high"),
)
"""Key in metrics.json, its words, and the keys of its 95 % interval; rows whose key is absent are left out."""


def write_card(
    path: Path,
    variant: str,
    config: Mapping[str, Any],
    manifest: Manifest,
    intake: Intake,
    calibration: Calibration,
    metrics: Mapping[str, float],
    parity: Mapping[str, Any],
) -> None:
    """Write the card, a function of the artifacts alone: equal inputs give an equal card."""
    latent_dim = config["params"]["latent_dim"]
    sections = [
        f"# Model card: `{variant}`",
        f"{_what(config, intake)} with a code of {latent_dim} for every {manifest.item.size} values. "
        "It scores how strange a record is, and says whether that is strange enough for an alarm.",
        "## Input and outputs",
        _table(("name", "shape", "type", "meaning"), intake.interface(latent_dim)),
        "## How to use",
        _usage(intake),
        "## Data",
        _data(manifest),
        "## How well it does",
        f"On {manifest.size('test')} test records, which no weight, epoch, threshold or choice was fitted to.",
        _metrics(metrics),
        "## What the threshold promises",
        _promise(calibration, metrics),
        "## Limits",
        _limits(manifest),
        "## Files",
        _files(parity, config, intake.remark),
    ]
    path.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _what(config: Mapping[str, Any], intake: Intake) -> str:
    entry = find(config["model"])
    base = f" around `{config['base']}`" if config["base"] else ""
    return f"Autoencoder `{entry.name}`{base} ({entry.description}) for {intake.records},"


def _usage(intake: Intake) -> str:
    return (
        "```python\n"
        "import numpy as np, onnxruntime\n"
        'session = onnxruntime.InferenceSession("scorer.onnx")\n'
        f"{intake.usage()}\n"
        "names = [output.name for output in session.get_outputs()]\n"
        f"print(dict(zip(names, session.run(None, {intake.feed}))))\n"
        "```"
    )


def _data(manifest: Manifest) -> str:
    rows = [(split, str(manifest.size(split)), _classes(manifest.counts[split])) for split in SPLITS]
    normal = f"; normal: {', '.join(manifest.normal_classes)}" if manifest.has_anomalies else ""
    source = f"Source: {manifest.source['name']} ({manifest.source['version']}){normal}."
    return f"{source}\n\n{_table(('split', 'records', 'of classes'), rows)}"


def _classes(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items() if count) or "none"


def _metrics(metrics: Mapping[str, float]) -> str:
    rows = []
    for key, words, low, high in METRICS:
        if key in metrics:
            interval = f"{metrics[low]:.4g} to {metrics[high]:.4g}" if low in metrics and high in metrics else ""
            rows.append((words, f"{metrics[key]:.4g}", interval))
    return _table(("metric", "value", "95 % interval"), rows)


def _promise(calibration: Calibration, metrics: Mapping[str, float]) -> str:
    alpha, n, m, method = calibration.alpha, calibration.n, calibration.m, calibration.method.replace("_", " ")
    return (
        f"At most {alpha:g} of normal records raise an alarm, {calibration.promise} ({method}, "
        f"n = {n}, m = {m}: an alarm is a score that fewer than {m} calibration scores reach, which is a score above "
        f"{calibration.threshold:.6g}).\n\n"
        f"The small print: for this one calibration set the rate stays below {calibration.upper_95:.4g} with 95 % "
        f"confidence; on test it was {metrics['false_alarm_rate']:.4g}. The promise holds for records drawn like the "
        "calibration records and for nothing else. It says nothing about how many anomalies are found.\n\n"
        f"Another alpha needs no other file: an alarm is {_rule(calibration)}. The registered model does so when a "
        "request names `alpha`."
    )


def _rule(calibration: Calibration) -> str:
    """How a p-value decides at any alpha."""
    if calibration.confidence is None:
        return "`p_value` <= alpha"
    n = calibration.n
    return (
        f"{n + 1} `p_value` <= m, with the largest m for which the {calibration.confidence:g} quantile of "
        f"Beta(m, {n + 1} - m) is at most alpha"
    )


def _limits(manifest: Manifest) -> str:
    return (
        f"- It knows the normal records of one source ({manifest.source['name']}) and was fitted to no anomaly. "
        "When the source drifts, the promise above lapses: train and calibrate again.\n"
        "- A low score means that the record is reconstructed well, which strange but simple records can be.\n"
        "- p-values go no lower than 1 / (n + 1); a record with NaN or infinity always raises an alarm.\n"
        "- Scores of the same record differ by rounding between machines, runtimes and batch sizes; parity.json "
        "says by how much here."
    )


def _files(parity: Mapping[str, Any], config: Mapping[str, Any], remark: str) -> str:
    rows = [(name, str(entry["bytes"]), f"`{entry['sha256']}`") for name, entry in sorted(parity["files"].items())]
    proof = (
        f"Each agrees with the trained network on all {parity['records']} test records, "
        f"{parity['records_in_all_batches']} of them in batches of {', '.join(map(str, parity['batches']))}; "
        "parity.json holds the differences and the rule. "
        "TorchScript is deprecated by its makers: prefer ONNX."
    )
    table, digest = _table(("file", "bytes", "SHA-256"), rows), f"Data digest: `{config['data_digest']}`."
    return "\n\n".join(filter(None, (table, proof, remark, digest)))


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    # a user's column may have a bar in its name, which would end the cell
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)

"""The model card: what an exported scorer is, how well it does, what it promises and what it does not."""

from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Subject:
    """What a card is about: a scorer, the network in it, its data and what was measured of it."""

    variant: str
    config: Mapping[str, Any]
    """artifacts/train/V/config.json."""
    manifest: Manifest
    intake: Intake
    calibration: Calibration
    metrics: Mapping[str, float]
    """Named as in METRICS."""
    files: Mapping[str, Mapping[str, Any]]
    """File name, then its `bytes` and `sha256`."""
    proof: str
    """How it is known that the files do what the network does."""
    made_by: str
    """The stage that makes the files again."""
    compression: str = ""
    """Of a compressed scorer: how, and what it cost."""


def write_card(path: Path, subject: Subject) -> None:
    """Write the card, a function of the artifacts alone: equal inputs give an equal card."""
    latent_dim, manifest, intake = subject.config["params"]["latent_dim"], subject.manifest, subject.intake
    sections = [
        f"# Model card: `{subject.variant}`",
        f"{_what(subject.config, intake)} with a code of {latent_dim} for every {manifest.item.size} values. "
        "It scores how strange a record is, and says whether that is strange enough for an alarm.",
        "## What it is for",
        _purpose(manifest, intake),
        *(("## Compression", subject.compression) if subject.compression else ()),
        "## How well it does",
        f"On {manifest.size('test')} test records, which no weight, epoch, threshold or choice was fitted to.",
        _metrics(subject.metrics),
        "## What the threshold promises",
        _promise(subject.calibration, subject.metrics),
        "## Limits",
        _limits(manifest),
        "## How to use",
        _usage(intake),
        "## Data",
        _data(manifest),
        "## How to rebuild it",
        _rebuild(subject),
        "## Files",
        _files(subject),
        "## Input and outputs",  # last, because a table may have hundreds of columns
        _table(("name", "shape", "type", "meaning"), intake.interface(latent_dim)),
    ]
    path.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _purpose(manifest: Manifest, intake: Intake) -> str:
    return (
        f"For {intake.records} of the source {manifest.source['name']} as they come: to find those unlike its normal "
        "records, rank them for people to look at, and raise alarms at a rate that is known beforehand.\n\n"
        "Not for: records of another source or scaling, telling kinds of anomalies apart, naming causes, or decisions "
        "about people without a person."
    )


def _rebuild(subject: Subject) -> str:
    config = subject.config
    return (
        "A registered version carries its commit as a tag, and dvc.lock, params.yaml and requirements.lock in the "
        "folder `provenance`. In that commit, with the data in DVC's cache or remote (`dvc pull`), `make setup` and "
        f"`dvc repro {subject.made_by}` make these files again, to the byte on the same kind of machine.\n\n"
        f"Seed: {config['seed']}. Data digest: `{config['data_digest']}`."
    )


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
        f"confidence; on test it was {metrics['false_alarm_rate']:.4g}. What it assumes: that new normal records are "
        "exchangeable with the calibration records (of the same source, in any order, none fitted to), and that "
        "the file is used as it is. It says nothing about records of another kind, or how many anomalies are found.\n\n"
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


def _files(subject: Subject) -> str:
    rows = [(name, str(entry["bytes"]), f"`{entry['sha256']}`") for name, entry in sorted(subject.files.items())]
    table = _table(("file", "bytes", "SHA-256"), rows)
    return "\n\n".join(filter(None, (table, subject.proof, subject.intake.remark)))


def proof(parity: Mapping[str, Any]) -> str:
    """What parity.json says, in words."""
    return (
        f"Each agrees with the trained network on all {parity['records']} test records, "
        f"{parity['records_in_all_batches']} of them in batches of {', '.join(map(str, parity['batches']))}, "
        f"and in one of {parity['large_batch']}; "
        "parity.json holds the differences and the rule. "
        "TorchScript is deprecated by its makers: prefer ONNX."
    )


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    # a user's column may have a bar in its name, which would end the cell
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)

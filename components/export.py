"""Stage `export`: a trained variant becomes files that need none of this code, each proven equal to the model.

In:   artifacts/train/V, artifacts/threshold/V, artifacts/evaluate/V/metrics.json, of artifacts/prepare the test split
      and, for tables, preprocess.onnx
Out:  artifacts/export/V/ — scorer.onnx, encoder.onnx, reconstructor.onnx, model.torchscript.pt, parity.json, card.md
Run:  python -m components.export V

Test records are read to compare the files with the model; nothing is fitted to them.
"""

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.params import load_globals, load_section
from components.params.export import Params
from components.runtime.errors import UserError, run_main
from components.runtime.outputs import ARTIFACTS, complete_dir, read_json, write_json
from components.runtime.process import die_with_parent, make_deterministic, set_threads, variant_argument

if TYPE_CHECKING:
    from components.scoring.conformal import Calibration

TORCHSCRIPT = "model.torchscript.pt"
NOISE = 1e-12
"""Squared error in scaled units that float32 rounding alone leaves, with some room (a handful of 2^-23, squared)."""


def export(variant: str, params: Params, threads: int, artifacts: Path = ARTIFACTS) -> dict[str, Any]:
    """Write a variant's files, prove them and describe them; returns what parity.json holds.

    Raises:
        UserError: an earlier stage's artifact is missing or damaged, or scores are rounding noise.
        ParityError: a file disagrees with the model; nothing is left in artifacts/export/VARIANT/.
    """
    from components.data.splits import load_manifest
    from components.exporting import onnx_files, parity, torchscript_files
    from components.exporting.card import Subject, proof, write_card
    from components.exporting.intakes import make_intake
    from components.scoring.conformal import Calibration
    from components.scoring.detector import load_detector
    from components.training.weights import load_config, load_model

    trained, prepared, out = artifacts / "train" / variant, artifacts / "prepare", artifacts / "export" / variant
    config, model, manifest = load_config(trained), load_model(trained), load_manifest(prepared)
    calibration = Calibration.load(artifacts / "threshold" / variant)
    metrics = read_json(artifacts / "evaluate" / variant / "metrics.json", f"evaluate@{variant}")
    _require_signal(calibration, variant)

    intake = make_intake(manifest, prepared, load_detector(model, artifacts / "threshold" / variant), calibration)
    # what a failed proof leaves behind must not be the export of earlier weights
    shutil.rmtree(out, ignore_errors=True)
    with complete_dir(out) as folder:
        runners = {}
        for name, graph in intake.graphs(params.opset).items():
            onnx_files.save_onnx(graph, folder / name)
            runners[name.removesuffix(".onnx")] = parity.onnx_runner(folder / name, threads)
        torchscript_files.export_torchscript(intake.scorer, intake.example, folder / TORCHSCRIPT)
        torchscript = parity.torchscript_runner(folder / TORCHSCRIPT)
        reference, chunks = parity.torch_runner(intake.scorer), intake.chunks(parity.CHUNK)
        report = parity.prove(reference, runners, torchscript, chunks, calibration)
        report["files"] = {path.name: _describe(path, params.opset) for path in sorted(folder.iterdir())}
        write_json(folder / "parity.json", report)
        described = (variant, config, manifest, intake, calibration, metrics, report["files"], proof(report))
        write_card(folder / "card.md", Subject(*described, made_by=f"export@{variant}"))
    return report


def _require_signal(calibration: "Calibration", variant: str) -> None:
    # noise differs between runtimes, and no file could repeat a decision made on it
    median = float(calibration.scores[calibration.n // 2])
    if median < NOISE:
        raise UserError(
            f"variants.{variant}.latent_dim",
            f"leaves only rounding errors to score by (median {median:.2g}, records are reconstructed exactly)",
            "choose a smaller code",
        )


def _describe(path: Path, opset: int) -> dict[str, Any]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"sha256": digest, "bytes": path.stat().st_size, "opset": opset if path.suffix == ".onnx" else None}


def main() -> None:
    """Run the stage."""
    variant = variant_argument()
    die_with_parent()
    params, numbers = load_section("export"), load_globals()
    set_threads(numbers.threads)
    make_deterministic(numbers.threads)
    report = export(variant, params, numbers.threads)
    files, size = report["files"], report["files"]["scorer.onnx"]["bytes"]
    print(f"{variant}: scorer.onnx of {size:,} bytes; {len(files)} files proven on {report['records']} records")


if __name__ == "__main__":
    run_main(main)

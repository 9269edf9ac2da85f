"""Stage `compress`: smaller and faster scorers of one variant, each with a threshold of its own.

In:   artifacts/export/V/scorer.onnx, artifacts/train/V, artifacts/threshold/V; of artifacts/prepare train and
      validation (to learn from), calibration (for the thresholds) and test (to compare with the exported scorer)
Out:  artifacts/compress/V/ — compression.json, and for each method of `compress.methods` METHOD/ with scorer.onnx,
      card.md, threshold.json and calibration_scores.npy
Run:  python -m components.compress V

`compress.methods` names what to make; {}, the default, makes nothing. Scores move when a network changes, so each
threshold is fitted again, to scores of the compressed graph itself. `export.publish` says which scorer is registered.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.params import load_globals, load_section
from components.params.compress import Params
from components.runtime.errors import run_main
from components.runtime.outputs import ARTIFACTS, complete_dir, write_json
from components.runtime.process import die_with_parent, make_deterministic, set_threads, variant_argument

if TYPE_CHECKING:
    from components.compressing import Original

OUT = ARTIFACTS / "compress"
TABLE = "compression.json"


def compress(
    variant: str, params: Params, opset: int, seed: int, threads: int, artifacts: Path = ARTIFACTS
) -> dict[str, Any]:
    """Make and judge every scorer that params ask for; returns the content of compression.json.

    Raises:
        UserError: an earlier stage's artifact is missing or damaged, a method does not suit, or training diverges.
        ParityError: a graph disagrees with the network it was made from; nothing is left in artifacts/compress/V/.
    """
    from components.compressing import find, resolve
    from components.compressing.assembling import Workshop
    from components.models import find as find_model

    original = load_original(variant, opset, seed, artifacts)
    model = original.config["model"]
    table: dict[str, Any] = {}
    with complete_dir(artifacts / "compress" / variant) as folder:
        workshop = Workshop(original, threads, folder)
        for name, method_params in resolve(params.methods).items():
            entry = find(name)
            if entry.trains and find_model(model).closed_form:
                table[name] = {"not_applicable": f"'{model}' is fitted in closed form and takes no steps"}
                continue
            table[name] = workshop.make(name, entry, method_params)
        write_json(folder / TABLE, table)
    return table


def load_original(variant: str, opset: int, seed: int, artifacts: Path = ARTIFACTS) -> "Original":
    """What there is to compress of a variant.

    Raises:
        UserError: an earlier stage's artifact is missing or damaged.
    """
    from components.compressing import Original
    from components.data.splits import load_manifest
    from components.exporting.onnx_files import SCORER, load_onnx
    from components.scoring.conformal import Calibration
    from components.scoring.detector import load_detector
    from components.training.weights import load_config, load_model

    trained, calibrated = artifacts / "train" / variant, artifacts / "threshold" / variant
    prepared = artifacts / "prepare"
    return Original(
        variant=variant,
        config=load_config(trained),
        manifest=load_manifest(prepared),
        prepared=prepared,
        graph=load_onnx(artifacts / "export" / variant / SCORER, f"export@{variant}"),
        detector=load_detector(load_model(trained), calibrated),
        calibration=Calibration.load(calibrated),
        opset=opset,
        seed=seed,
    )


def _summary(variant: str, table: dict[str, Any]) -> str:
    lines = []
    for name, row in table.items():
        if "not_applicable" in row:
            lines.append(f"{variant}, {name}: left out, {row['not_applicable']}")
            continue
        verdict = "; ".join(row["faults"]) or "holds its limits"
        lines.append(f"{variant}, {name}: {row['bytes']:,} bytes, {row['size_ratio']:.2f} of float32's; {verdict}")
    return "\n".join(lines)


def main() -> None:
    """Run the stage."""
    variant = variant_argument()
    die_with_parent()
    numbers = load_globals()
    set_threads(numbers.threads)
    params = load_section("compress")
    if not params.methods:  # without torch, whose import would be all that a default run waits for
        with complete_dir(OUT / variant) as folder:
            write_json(folder / TABLE, {})
        print(f"{variant}: nothing to compress, as compress.methods says")
        return
    make_deterministic(numbers.threads)
    print(_summary(variant, compress(variant, params, load_section("export").opset, numbers.seed, numbers.threads)))


if __name__ == "__main__":
    run_main(main)

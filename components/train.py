"""Stage `train`: fit one variant's network, and PCA at the same code size beside it.

In:   artifacts/resolve/V.json, artifacts/prepare/{train,validation}.npy and manifest.json
Out:  artifacts/train/V/ — model.safetensors, pca.safetensors, config.json, history.csv, fit.json, diagnosis.json,
      validation_errors.npy (squared errors per record, the network's and PCA's)
Run:  python -m components.train V
      python -m components.train --list             lists the models there are, and their params
      python -m components.train V --probe          suggests a learning rate
      python -m components.train --probe-machine    suggests precision, compile and threads

Killed and started again, it goes on from its last complete epoch (`.work/train/V/`) to the same weights.
"""

import csv
import dataclasses
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.params import load_globals
from components.runtime.errors import run_main
from components.runtime.outputs import ARTIFACTS, complete_dir, write_json
from components.runtime.process import device, die_with_parent, make_deterministic, set_threads, variant_argument

if TYPE_CHECKING:
    from components.training.trainer import Epoch, Row


def train(variant: str, seed: int, log: Callable[["Epoch"], None], out: Path = ARTIFACTS / "train") -> dict[str, Any]:
    """Fit a variant and return its config.json.

    Raises:
        UserError: the variant is not resolved, does not suit the data, or training diverges.
    """
    import numpy as np

    from components.data.splits import load_records
    from components.diagnosing.trained import diagnose_training
    from components.scoring.score import score_records
    from components.training.fit_report import fit_report
    from components.training.fitting import fit, fit_closed_form
    from components.training.initial import build
    from components.training.planning import plan
    from components.training.weights import CONFIG, MODEL, PCA_TWIN, count, pca_blueprint, save_weights

    planned = plan(variant)
    fitted = fit(variant, planned, seed, log)
    network, scale, config, blueprint = fitted.network, fitted.scale, fitted.config, planned.blueprint
    untrained = None if planned.closed_form else build(blueprint, planned.params.init, seed, planned.where)
    yardstick = pca_blueprint(blueprint.item, blueprint.params["latent_dim"])
    twin = network if blueprint == yardstick else yardstick.build()
    if twin is not network:
        fit_closed_form(twin, scale, planned.where)
    validation = np.stack([score_records(model, scale, load_records("validation")) for model in (network, twin)])
    report = fit_report(network, untrained, scale, validation, seed)
    loss = report["validation_mse"] or 0.0
    history = fitted.history or [{"epoch": 0.0, "learning_rate": 0.0, "gradient_norm": 0.0, "validation_loss": loss}]
    findings = diagnose_training(network, scale, history, report, config)
    config["parameters"] = count(network)
    config["epochs_run"] = len(history)
    with complete_dir(out / variant) as folder:
        save_weights(network, folder / MODEL)
        save_weights(twin, folder / PCA_TWIN)
        write_json(folder / CONFIG, config)
        write_json(folder / "fit.json", report)
        np.save(folder / "validation_errors.npy", validation, allow_pickle=False)
        write_json(folder / "diagnosis.json", [dataclasses.asdict(finding) for finding in findings])
        _write_history(folder / "history.csv", history)
    fitted.checkpoints.remove()
    return config


def _write_history(path: Path, rows: list["Row"]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "epoch": int(row["epoch"])} for row in rows)


def main() -> None:
    """Run the stage, or what only people read: found by name, because it must make no weights stale."""
    if sys.argv[1:] == ["--list"]:
        print(importlib.import_module("components.probing.catalogue").catalogue())
        return
    if sys.argv[1:] == ["--probe-machine"]:
        print(importlib.import_module("components.probing.machine").probe())
        return
    probing = sys.argv[2:] == ["--probe"]
    variant = variant_argument(sys.argv[1:2] if probing else sys.argv[1:])
    die_with_parent()
    numbers = load_globals()
    set_threads(numbers.threads)
    make_deterministic(numbers.threads)
    if probing:
        print(importlib.import_module("components.probing.variant").probe_variant(variant, numbers.seed))
        return
    from components.training.progress import epoch_log
    from components.training.speed import Stopwatch

    stopwatch = Stopwatch(str(device()))
    with epoch_log(variant, live=sys.stderr.isatty()) as show:

        def log(epoch: "Epoch") -> None:
            stopwatch.hear(epoch)
            show(epoch)

        config = train(variant, numbers.seed, log)
    stopwatch.write(variant, ARTIFACTS / "train" / variant / "history.csv")
    best = "in closed form" if config["train"] is None else f"best epoch {config['best_epoch'] + 1}"
    print(f"{variant}: {config['parameters']:,} parameters, {best}")


if __name__ == "__main__":
    run_main(main)

"""Stage `train`: fit one variant's network, and PCA at the same code size beside it.

In:   artifacts/resolve/V.json, artifacts/prepare/{train,validation}.npy and manifest.json
Out:  artifacts/train/V/ — model.safetensors, pca.safetensors, config.json, history.csv, fit.json, diagnosis.json
Run:  python -m components.train V
      python -m components.train --list             lists the models there are, and their params
      python -m components.train V --probe          suggests a learning rate
      python -m components.train --probe-machine    suggests precision, compile and threads

Killed and started again, it goes on from its last complete epoch (`.work/train/V/`) to the same weights.
"""

import csv
import dataclasses
import hashlib
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.params import load_globals
from components.params.train import Params
from components.runtime.errors import UserError, run_main
from components.runtime.outputs import ARTIFACTS, complete_dir, write_json
from components.runtime.process import device, die_with_parent, fits, make_deterministic, set_threads, variant_argument

if TYPE_CHECKING:
    import torch
    from torch import nn

    from components.models import Autoencoder
    from components.training.records import Records
    from components.training.trainer import Epoch, Row


def train(variant: str, seed: int, log: Callable[["Epoch"], None], out: Path = ARTIFACTS / "train") -> dict[str, Any]:
    """Fit a variant and return its config.json.

    Raises:
        UserError: the variant is not resolved, does not suit the data, or training diverges.
    """
    from components.data.scaling import Scale
    from components.diagnosing.trained import diagnose_training
    from components.objectives import file_digest, load_distance
    from components.training.checkpoint import Checkpoints
    from components.training.fit_report import fit_report
    from components.training.initial import build
    from components.training.planning import plan
    from components.training.precision import resolve_precision
    from components.training.weights import CONFIG, MODEL, PCA_TWIN, pca_blueprint, save_weights

    planned = plan(variant)
    params, manifest, blueprint, where = planned.params, planned.manifest, planned.blueprint, planned.where
    config: dict[str, Any] = {
        "variant": variant,
        "seed": seed,
        "precision": "float32" if planned.closed_form else resolve_precision(params.precision, device()),
        "train": planned.resolved["train"],
        "data_digest": _digest(manifest.digests),
        **dataclasses.asdict(blueprint),
    }
    network, scale = build(blueprint, params.init, seed, where), Scale(manifest)
    network.distance = load_distance(blueprint.loss, params.perceptual_weights, device(), where)
    config |= file_digest(blueprint.loss, params.perceptual_weights)
    checkpoints = Checkpoints(variant, _run_key(config, planned.resolved["files"]))
    if planned.closed_form:
        _fit_closed_form(network, scale, where)
        untrained = None
    else:
        history, config["best_epoch"] = _fit_by_steps(network, scale, params, config, checkpoints, log)
        untrained = build(blueprint, params.init, seed, where)
    yardstick = pca_blueprint(blueprint.item, blueprint.params["latent_dim"])
    twin = network if blueprint == yardstick else yardstick.build()
    if twin is not network:
        _fit_closed_form(twin, scale, where)
    fit = fit_report(network.cpu().eval(), twin, untrained, scale.cpu(), seed)
    if planned.closed_form:
        loss = fit["validation_mse"] or 0.0
        history = [{"epoch": 0.0, "learning_rate": 0.0, "gradient_norm": 0.0, "validation_loss": loss}]
    findings = diagnose_training(network, scale, history, fit, config)
    config["parameters"] = sum(tensor.numel() for tensor in network.state_dict().values())
    config["epochs_run"] = len(history)
    with complete_dir(out / variant) as folder:
        save_weights(network, folder / MODEL)
        save_weights(twin, folder / PCA_TWIN)
        write_json(folder / CONFIG, config)
        write_json(folder / "fit.json", fit)
        write_json(folder / "diagnosis.json", [dataclasses.asdict(finding) for finding in findings])
        _write_history(folder / "history.csv", history)
    checkpoints.remove()
    return config


def _fit_by_steps(
    network: "Autoencoder",
    scale: "nn.Module",
    params: Params,
    config: dict[str, Any],
    checkpoints: Any,
    log: Callable[["Epoch"], None],
) -> tuple[list["Row"], int]:
    """History and best epoch; `network` and `scale` are left on the device."""
    from components.training.trainer import Trainer

    where = device()
    checkpoints.forget_others()
    name = f"variants.{config['variant']}"
    trainer = Trainer(network.to(where), scale.to(where), params, config["seed"], config["precision"], name)
    progress = trainer.fit(*_splits(params.memory_mib << 20, where), checkpoints, log)
    return progress.history, progress.best_epoch


def _splits(memory: int, where: "torch.device") -> list["Records"]:
    """Train and validation: in memory as far as `memory` bytes hold them, and on the device where it has room."""
    import numpy as np
    import torch

    from components.data.splits import load_records
    from components.training.records import Blocks, InMemory

    mapped = [load_records("train"), load_records("validation")]
    place = where if fits(min(memory, sum(split.nbytes for split in mapped)), where) else torch.device("cpu")
    splits, held = [], 0
    for split in mapped:
        held += split.nbytes
        # validation is read in its order, so where it lies changes no result
        whole = held <= memory
        splits.append(InMemory(torch.from_numpy(np.array(split)).to(place)) if whole else Blocks(split, memory, place))
    return splits


def _fit_closed_form(network: "Autoencoder", scale: "nn.Module", where: str) -> None:
    from components.data.splits import load_records
    from components.training.records import ScaledBatches

    try:
        network.fit(ScaledBatches(load_records("train"), scale.cpu()))
    except ValueError as error:
        raise UserError(f"{where}.latent_dim", str(error), "choose a smaller code or add records") from None


def _write_history(path: Path, rows: list["Row"]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "epoch": int(row["epoch"])} for row in rows)


def _run_key(config: dict[str, Any], model_files: dict[str, str]) -> str:
    """Digest of all that decides the weights: config, data, code, libraries and the kind of device."""
    import torch

    folders = ("data", "layers", "objectives", "runtime", "scoring", "training")
    code = [path for folder in folders for path in sorted(Path("components", folder).glob("*.py"))]
    files = [Path("components/train.py"), Path("components/models/__init__.py"), *code, Path("requirements.lock")]
    digests = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return _digest([config, model_files, digests, device().type, torch.get_num_threads()])[:16]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


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

"""A variant's network from train and validation, by steps or in closed form: `train` keeps it, `seeds` repeats it."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from components.data.scaling import Scale
from components.data.splits import load_records
from components.models import Autoencoder
from components.objectives import file_digest, load_distance
from components.params.train import Params
from components.runtime.errors import UserError
from components.runtime.outputs import WORK
from components.runtime.process import device, fits
from components.training.checkpoint import Checkpoints
from components.training.initial import build
from components.training.planning import Plan
from components.training.precision import resolve_precision
from components.training.records import Blocks, InMemory, Records, ScaledBatches
from components.training.trainer import Epoch, Row, Trainer


@dataclass(frozen=True)
class Fitted:
    """A network that has learned, on the CPU and ready to be used."""

    network: Autoencoder
    scale: nn.Module
    history: list[Row]
    """One row per epoch; empty for a closed form."""
    config: dict[str, Any]
    """Everything that decided the weights."""
    checkpoints: Checkpoints
    """To be removed when what follows has ended well."""


def fit(variant: str, planned: Plan, seed: int, log: Callable[[Epoch], None], work: Path = WORK / "train") -> Fitted:
    """Fit a variant with `seed`; checkpoints lie in `work`.

    Raises:
        UserError: the variant does not suit the data, or training diverges.
    """
    params, blueprint, where = planned.params, planned.blueprint, planned.where
    config: dict[str, Any] = {
        "variant": variant,
        "seed": seed,
        "precision": "float32" if planned.closed_form else resolve_precision(params.precision, device()),
        "train": planned.resolved["train"],
        "data_digest": _digest(planned.manifest.digests),
        **dataclasses.asdict(blueprint),
    }
    network, scale = build(blueprint, params.init, seed, where), Scale(planned.manifest)
    network.distance = load_distance(blueprint.loss, params.perceptual_weights, device(), where)
    config |= file_digest(blueprint.loss, params.perceptual_weights)
    checkpoints = Checkpoints(variant, run_key(config, planned.resolved["files"]), work)
    history: list[Row] = []
    if planned.closed_form:
        fit_closed_form(network, scale, where)
    else:
        history, config["best_epoch"] = fit_by_steps(network, scale, params, config, checkpoints, log)
    return Fitted(network.cpu().eval(), scale.cpu(), history, config, checkpoints)


def fit_closed_form(network: Autoencoder, scale: nn.Module, where: str) -> None:
    """Fit to the train split; `where` is the variant's key in params.yaml.

    Raises:
        UserError: there are too few records for the code.
    """
    try:
        network.fit(ScaledBatches(load_records("train"), scale.cpu()))
    except ValueError as error:
        raise UserError(f"{where}.latent_dim", str(error), "choose a smaller code or add records") from None


def fit_by_steps(
    network: Autoencoder,
    scale: nn.Module,
    params: Params,
    config: dict[str, Any],
    checkpoints: Checkpoints,
    log: Callable[[Epoch], None],
) -> tuple[list[Row], int]:
    """History and best epoch; `network` and `scale` are left on the device.

    Args:
        config: at least `variant`, `seed` and `precision`, resolved.

    Raises:
        UserError: training diverges.
    """
    where = device()
    checkpoints.forget_others()
    name = f"variants.{config['variant']}"
    trainer = Trainer(network.to(where), scale.to(where), params, config["seed"], config["precision"], name)
    progress = trainer.fit(*_splits(params.memory_mib << 20, where), checkpoints, log)
    return progress.history, progress.best_epoch


def _splits(memory: int, where: torch.device) -> list[Records]:
    """Train and validation: in memory as far as `memory` bytes hold them, and on the device where it has room."""
    mapped = [load_records("train"), load_records("validation")]
    place = where if fits(min(memory, sum(split.nbytes for split in mapped)), where) else torch.device("cpu")
    splits, held = [], 0
    for split in mapped:
        held += split.nbytes
        # validation is read in its order, so where it lies changes no result
        whole = held <= memory
        splits.append(InMemory(torch.from_numpy(np.array(split)).to(place)) if whole else Blocks(split, memory, place))
    return splits


def run_key(config: dict[str, Any], model_files: dict[str, str]) -> str:
    """Digest of all that decides the weights: config, data, code, libraries and the kind of device."""
    folders = ("data", "layers", "objectives", "runtime", "scoring", "training")
    code = [path for folder in folders for path in sorted(Path("components", folder).glob("*.py"))]
    files = [Path("components/models/__init__.py"), *code, Path("requirements.lock")]
    digests = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return _digest([config, model_files, digests, device().type, torch.get_num_threads()])[:16]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

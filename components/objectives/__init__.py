"""Reconstruction losses: one loss is one entry of `LOSSES`, found by the name that `train.loss` gives.

Every loss is a mean over the values of each record (batch,), so that records of a ragged batch weigh the same. Which
loss is trained on also decides how a network's raw output becomes a reconstruction; scores stay squared errors.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from components.data.item import Item
from components.objectives.columns import column_loss, softmax_groups
from components.objectives.perceptual import load_perceptual
from components.objectives.ssim import structural
from components.objectives.values import bce, huber, l1, mse
from components.runtime.errors import UserError

Distance = Callable[[Tensor, Tensor, Item], Tensor]
"""(output before its activation (batch, *item), target (batch, *item), item) to the loss of each record (batch,)."""


def linear(output: Tensor, item: Item) -> Tensor:
    """The output as it is: a sigmoid under anything but cross-entropy saturates and stops learning."""
    del item
    return output


def _not_loaded(output: Tensor, target: Tensor, item: Item) -> Tensor:
    del output, target, item
    raise RuntimeError("this loss is loaded first: network.distance = entry.load(file, device)")


@dataclass(frozen=True)
class LossEntry:
    """One row of the table."""

    distance: Distance
    activate: Callable[[Tensor, Item], Tensor] = linear
    """(output (batch, *item), item) to the reconstruction in scaled units."""
    needs: str = ""
    """Records it is made for: "images", "values in 0..1", "a table" or, empty, any."""
    load: Callable[[Path, torch.device], Distance] | None = None
    """Makes `distance` from `train.perceptual_weights`; raises ValueError where the file does not serve."""
    probabilities: bool = False
    """Reconstructions lie in 0..1, so their cross-entropy has a meaning."""

    def suits(self, item: Item) -> bool:
        """Whether records are of the kind it needs."""
        kinds = {
            "": True,
            "images": item.is_image and item.unit_range,
            "values in 0..1": item.unit_range,
            "a table": bool(item.groups),
        }
        return kinds[self.needs]


LOSSES = {
    "mse": LossEntry(mse),
    "bce": LossEntry(bce, lambda output, _: torch.sigmoid(output), needs="values in 0..1", probabilities=True),
    "l1": LossEntry(l1),
    "huber": LossEntry(huber),
    "ssim": LossEntry(structural, needs="images"),
    "perceptual": LossEntry(_not_loaded, needs="images", load=load_perceptual),
    "mixed": LossEntry(
        lambda output, target, item: column_loss(output, target, item.groups),
        lambda output, item: softmax_groups(output, item.groups),
        needs="a table",
    ),
}


def choose(wanted: str, item: Item, where: str) -> str:
    """The name of the loss to train on: `wanted`, or for "auto" bce for images, mixed for tables, else mse.

    Raises:
        UserError: the records are not of the kind it needs; `where` names the variant.
    """
    if wanted == "auto":
        return "mixed" if LOSSES["mixed"].suits(item) else "bce" if item.unit_range else "mse"
    if not LOSSES[wanted].suits(item):
        others = ", ".join(name for name, entry in LOSSES.items() if entry.suits(item) and entry.load is None)
        raise UserError(f"{where}.loss", f"'{wanted}' needs {LOSSES[wanted].needs}", f"use auto, {others}")
    return wanted


def load_distance(name: str, file: str | None, device: torch.device, where: str) -> Distance:
    """What a network is to minimise; reads `file` where the loss is made of one.

    Raises:
        UserError: the file is not named, is missing or does not serve; `where` names the variant.
    """
    entry = LOSSES[name]
    if entry.load is None:
        return entry.distance
    where, fix = f"{where}.perceptual_weights", "name a state dict of torchvision's vgg16 (.safetensors or .pth)"
    if file is None:
        raise UserError(where, f"is missing, loss '{name}' is made of a network's weights", fix)
    try:
        return entry.load(Path(file), device)
    except FileNotFoundError:
        raise UserError(where, f"no file '{file}'", fix) from None
    except ValueError as error:
        raise UserError(where, f"'{file}' {error}", fix) from None


def file_digest(name: str, file: str | None) -> dict[str, str]:
    """{"loss_file": SHA-256 of the file that the loss is made of}, for config.json; empty for all other losses."""
    if file is None or LOSSES[name].load is None:
        return {}
    return {"loss_file": hashlib.sha256(Path(file).read_bytes()).hexdigest()}

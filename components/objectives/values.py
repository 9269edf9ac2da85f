"""Losses that compare value by value. Shapes: output and target (batch, *item), result (batch,)."""

import torch.nn.functional as F
from torch import Tensor

from components.data.item import Item

_DELTA_OF_IMAGES, _DELTA_OF_ROWS = 0.1, 1.0
"""Where huber turns from squared to absolute: a tenth of an image's range (in which no error exceeds 1, so a delta of
1 would be half the squared error), one standard deviation of a column."""


def mse(output: Tensor, target: Tensor, item: Item) -> Tensor:
    """Squared error: the likelihood of Gaussian noise, which large errors dominate."""
    del item
    return _mean(F.mse_loss(output, target, reduction="none"))


def bce(output: Tensor, target: Tensor, item: Item) -> Tensor:
    """Binary cross-entropy from logits, for targets in 0..1."""
    del item
    return _mean(F.binary_cross_entropy_with_logits(output, target, reduction="none"))


def l1(output: Tensor, target: Tensor, item: Item) -> Tensor:
    """Absolute error: sharper than mse, and a few freak values do not lead it."""
    del item
    return _mean(F.l1_loss(output, target, reduction="none"))


def huber(output: Tensor, target: Tensor, item: Item) -> Tensor:
    """Squared for small errors, absolute for large ones (Huber, Annals of Mathematical Statistics 35, 1964)."""
    delta = _DELTA_OF_IMAGES if item.unit_range else _DELTA_OF_ROWS
    return _mean(F.huber_loss(output, target, reduction="none", delta=delta))


def _mean(values: Tensor) -> Tensor:
    return values.flatten(1).mean(1)

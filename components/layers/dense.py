"""Dense stacks: widths, activations and layers that do not mind a batch of one record."""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from components.models import ModelParams

Activation = Literal["relu", "tanh", "leaky_relu", "elu"]

ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "leaky_relu": partial(nn.LeakyReLU, 0.2),
    "elu": nn.ELU,
}
"""Name in params.yaml, then what makes the layer."""


class DenseParams(ModelParams):
    """Widths of the hidden layers; the decoder mirrors the encoder."""

    hidden: list[Annotated[int, Field(ge=1)]] | None = None
    """Widths from the input inwards, [] for none; null is three halvings from the largest power of two below the
    record's size, none narrower than four codes (784 values, 32 codes: 512, 256, 128)."""

    def widths(self, size: int) -> list[int]:
        """Every width of the encoder, from the record (`size` values) to the code."""
        hidden = default_hidden(size, self.latent_dim) if self.hidden is None else self.hidden
        return [size, *hidden, self.latent_dim]


def default_hidden(size: int, latent_dim: int) -> list[int]:
    """Three widths, each half of the one before, none narrower than four codes."""
    first = 2 ** max(1, math.ceil(math.log2(size)) - 1)
    return [max(first >> step, 4 * latent_dim) for step in range(3)]


def dense(widths: list[int], activation: Activation = "relu") -> nn.Sequential:
    """Linear layers with an activation between them, none behind the last."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


class BatchNorm(nn.BatchNorm1d):
    """Batch norm that takes a batch of one record, as the last of an epoch may be, by the running statistics."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalised values (batch, width)."""
        if self.training and len(x) == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)

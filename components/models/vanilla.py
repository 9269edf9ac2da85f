"""Vanilla autoencoder: dense layers squeeze a record through a small code, so that it must learn what records share.

Paper: Hinton and Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", Science 313, 2006.
Departures: trained end to end with ReLU instead of layer-wise pretraining; widths scale with the record.
Limits: ignores the neighbourhood of pixels (see conv); its code has no density to sample from.
"""

import itertools
import math

import torch
from pydantic import Field
from torch import Tensor, nn

from components.data.item import Item
from components.models import Autoencoder, Loss, ModelEntry, ModelParams


class Params(ModelParams):
    """Widths of the hidden layers; the decoder mirrors the encoder."""

    hidden: list[int] | None = Field(None, min_length=1)
    """Widths from the input inwards; null is three halvings from the largest power of two below the record's size, none
    narrower than four codes (784 values, 32 codes: 512, 256, 128)."""


def default_hidden(size: int, latent_dim: int) -> list[int]:
    """Three widths, each half of the one before, none narrower than four codes."""
    first = 2 ** max(1, math.ceil(math.log2(size)) - 1)
    return [max(first >> step, 4 * latent_dim) for step in range(3)]


def dense(widths: list[int]) -> nn.Sequential:
    """Linear layers with ReLU between them, none behind the last."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Vanilla(Autoencoder):
    """Dense encoder and mirrored dense decoder. Shapes: x (batch, *item), code (batch, latent_dim)."""

    def __init__(self, item: Item, params: Params, loss: Loss) -> None:
        super().__init__(item, loss)
        widths = [item.size, *(params.hidden or default_hidden(item.size, params.latent_dim)), params.latent_dim]
        self.encoder = dense(widths)
        self.decoder = dense(widths[::-1])

    def encode(self, x: Tensor) -> Tensor:
        """The code (batch, latent_dim)."""
        return self.encoder(x.flatten(1))

    def decode_logits(self, code: Tensor) -> Tensor:
        """The reconstruction before its output activation (batch, *item)."""
        return torch.unflatten(self.decoder(code), 1, self.item.shape)


MODEL = ModelEntry(Vanilla, Params, "dense layers, the code in the middle")

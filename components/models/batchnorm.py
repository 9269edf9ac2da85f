"""Batch-normalised autoencoder: each hidden layer sees values of one size, so that deep dense nets train fast.

Paper: Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
Shift", ICML 2015; dropout by Srivastava et al., JMLR 15, 2014.
Departures: normalises between the linear layer and the activation, as the paper has it; dropout in the decoder only,
because a code that loses units at random is blurred; a last batch of one record uses the running statistics.
Limits: needs batches large enough for a variance; statistics of training are applied to records of any other kind.
"""

import itertools

import torch
from pydantic import Field
from torch import Tensor, nn

from components.data.item import Item
from components.layers.dense import ACTIVATIONS, Activation, BatchNorm, DenseParams
from components.models import Autoencoder, Loss, ModelEntry


class Params(DenseParams):
    """Widths, activation and dropout."""

    activation: Activation = "relu"
    """Between the layers; leaky_relu has slope 0.2 below zero. The code is linear whatever is chosen."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Share of the decoder's hidden values that a training step sets to 0."""


class BatchNormalised(Autoencoder):
    """Dense layers with batch norm. Shapes: x (batch, *item), code (batch, latent_dim)."""

    def __init__(self, item: Item, params: Params, loss: Loss) -> None:
        super().__init__(item, loss)
        widths = params.widths(item.size)
        self.encoder = normalised(widths, params.activation, 0.0)
        self.decoder = normalised(widths[::-1], params.activation, params.dropout)

    def encode(self, x: Tensor) -> Tensor:
        """The code (batch, latent_dim)."""
        return self.encoder(x.flatten(1))

    def decode_logits(self, code: Tensor) -> Tensor:
        """The reconstruction before its output activation (batch, *item)."""
        return torch.unflatten(self.decoder(code), 1, self.item.shape)


def normalised(widths: list[int], activation: Activation, dropout: float) -> nn.Sequential:
    """Linear, batch norm, activation and dropout for each hidden width, and a bare linear layer at the end."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths[:-1]):
        # the norm subtracts the mean, and a bias with it
        layers += [nn.Linear(before, after, bias=False), BatchNorm(after), ACTIVATIONS[activation]()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(*widths[-2:]))


MODEL = ModelEntry(BatchNormalised, Params, "dense layers with batch norm, dropout in the decoder")

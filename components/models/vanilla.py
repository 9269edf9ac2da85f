"""Vanilla autoencoder: dense layers squeeze a record through a small code, so that it must learn what records share.

Paper: Hinton and Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", Science 313, 2006.
Departures: trained end to end with ReLU instead of layer-wise pretraining (see stacked); widths scale with the record.
Limits: ignores the neighbourhood of pixels (see conv); its code has no density to sample from.
"""

import torch
from torch import Tensor

from components.data.item import Item
from components.layers.dense import Activation, DenseParams, dense
from components.models import Autoencoder, Loss, ModelEntry


class Params(DenseParams):
    """Widths of the hidden layers and what stands between them."""

    activation: Activation = "relu"
    """Between the layers; leaky_relu has slope 0.2 below zero. The code is linear whatever is chosen."""


class Vanilla(Autoencoder):
    """Dense encoder and mirrored dense decoder. Shapes: x (batch, *item), code (batch, latent_dim)."""

    def __init__(self, item: Item, params: Params, loss: Loss) -> None:
        super().__init__(item, loss)
        widths = params.widths(item.size)
        self.encoder = dense(widths, params.activation)
        self.decoder = dense(widths[::-1], params.activation)

    def encode(self, x: Tensor) -> Tensor:
        """The code (batch, latent_dim)."""
        return self.encoder(x.flatten(1))

    def decode_logits(self, code: Tensor) -> Tensor:
        """The reconstruction before its output activation (batch, *item)."""
        return torch.unflatten(self.decoder(code), 1, self.item.shape)


MODEL = ModelEntry(Vanilla, Params, "dense layers, the code in the middle")

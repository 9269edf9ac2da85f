"""Vanilla autoencoder: dense layers squeeze a record through a small code, so that it must learn what records share.

Paper: Hinton and Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", Science 313, 2006.
Departures: trained end to end with ReLU instead of layer-wise pretraining (see stacked); widths scale with the record.
The output is linear or, under cross-entropy, a sigmoid, unless `output` says otherwise; a sigmoid or tanh under any
other loss saturates, and learns little where it does.
Limits: ignores the neighbourhood of pixels (see conv); its code has no density to sample from.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from components.data.item import Item
from components.layers.dense import Activation, DenseParams, dense
from components.models import Autoencoder, Loss, ModelEntry
from components.objectives import LOSSES, linear

Output = Literal["auto", "sigmoid", "tanh", "linear"]


class Params(DenseParams):
    """Widths of the hidden layers and what stands between them."""

    activation: Activation = "relu"
    """Between the layers; leaky_relu has slope 0.2 below zero. The code is linear whatever is chosen."""
    output: Output = "auto"
    """What ends the decoder; auto leaves it to the loss: sigmoid for bce, for all others linear (and, for a table's
    levels, softmax). tanh and linear cannot be trained on bce."""


class Vanilla(Autoencoder):
    """Dense encoder and mirrored dense decoder. Shapes: x (batch, *item), code (batch, latent_dim)."""

    def __init__(self, item: Item, params: Params, loss: Loss) -> None:
        super().__init__(item, loss)
        widths = params.widths(item.size)
        self.encoder = dense(widths, params.activation)
        self.decoder = dense(widths[::-1], params.activation).extend(output_layers(params.output, loss))

    def encode(self, x: Tensor) -> Tensor:
        """The code (batch, latent_dim)."""
        return self.encoder(x.flatten(1))

    def decode_logits(self, code: Tensor) -> Tensor:
        """The reconstruction before its output activation (batch, *item)."""
        return torch.unflatten(self.decoder(code), 1, self.item.shape)


def output_layers(output: Output, loss: Loss) -> list[nn.Module]:
    """What the decoder needs behind its last linear layer, and before what the loss itself adds.

    Raises:
        ValueError: the loss adds an activation of its own, and it is another one.
    """
    entry = LOSSES[loss]
    if output == "auto" or (output == "sigmoid" and entry.probabilities):
        return []
    if entry.activate is not linear:
        fitting = "auto or sigmoid" if entry.probabilities else "auto"
        raise ValueError(f"output '{output}' does not go with loss '{loss}', which needs output {fitting}")
    return {"sigmoid": [nn.Sigmoid()], "tanh": [nn.Tanh()], "linear": []}[output]


MODEL = ModelEntry(Vanilla, Params, "dense layers, the code in the middle")

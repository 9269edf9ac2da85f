"""Tied autoencoder: the decoder's weights are the encoder's transposed, half the weights for the same depth.

Paper: Baldi and Hornik, "Neural Networks and Principal Component Analysis", Neural Networks 2, 1989; Vincent et al.,
JMLR 11, 2010, for tied weights in deep stacks.
Departures: biases are not tied. With activation linear, no hidden layer and the mse loss, the best it can reach is
PCA's error (the textbook's proof), which a test holds it to.
Limits: an activation has no exact inverse, so tying costs some accuracy where records are plentiful.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.data.item import Item
from components.layers.dense import ACTIVATIONS, Activation, DenseParams
from components.models import Autoencoder, Loss, ModelEntry


class Params(DenseParams):
    """Widths of the hidden layers and what stands between them."""

    activation: Activation | Literal["linear"] = "relu"
    """Between the layers; linear is none, and the network a projection as PCA is."""


class Tied(Autoencoder):
    """Dense layers used in both directions. Shapes: x (batch, *item), code (batch, latent_dim)."""

    def __init__(self, item: Item, params: Params, loss: Loss) -> None:
        super().__init__(item, loss)
        widths = params.widths(item.size)
        self.layers = nn.ModuleList(map(nn.Linear, widths, widths[1:]))
        self.decoder_biases = nn.ParameterList([torch.zeros(width) for width in reversed(widths[:-1])])
        self.activation = nn.Identity() if params.activation == "linear" else ACTIVATIONS[params.activation]()

    def encode(self, x: Tensor) -> Tensor:
        """The code (batch, latent_dim)."""
        x = self.layers[0](x.flatten(1))
        for layer in self.layers[1:]:
            x = layer(self.activation(x))
        return x

    def decode_logits(self, code: Tensor) -> Tensor:
        """The reconstruction before its output activation (batch, *item)."""
        weights = [layer.weight.T for layer in reversed(self.layers)]
        x = F.linear(code, weights[0], self.decoder_biases[0])
        for weight, bias in zip(weights[1:], list(self.decoder_biases)[1:], strict=True):
            x = F.linear(self.activation(x), weight, bias)
        return torch.unflatten(x, 1, self.item.shape)


MODEL = ModelEntry(Tied, Params, "dense layers whose decoder is the encoder transposed")

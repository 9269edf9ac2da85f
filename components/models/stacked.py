"""Stacked denoising autoencoder: each layer first learns alone to undo noise, then all of them are tuned together.

Paper: Vincent et al., "Stacked Denoising Autoencoders", JMLR 11, 2010; the idea of layers trained one by one is Hinton
and Salakhutdinov's, Science 313, 2006.
Departures: ReLU and linear codes by default where the papers have sigmoids; each layer has a decoder of its own instead
of a tied one; inner layers are compared by squared error, the outermost by the loss of the run.
Limits: with today's activations and optimisers the start matters less than it did in 2006; it pays most on few records.
"""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from components.data.item import Item
from components.layers.dense import Activation, DenseParams, dense
from components.models import Autoencoder, Loss, ModelEntry


class Params(DenseParams):
    """Widths, activation and the pretraining."""

    activation: Activation = "relu"
    """Between the layers; leaky_relu has slope 0.2 below zero. The code is linear whatever is chosen."""
    pretrain_epochs: int = Field(10, ge=0, le=10_000)
    """Passes over the training records for each layer, before the epochs of `train`; 0 skips pretraining."""
    pretrain_learning_rate: float = Field(1e-3, gt=0, le=10)
    """Adam's step size while pretraining."""
    pretrain_masking: float = Field(0.25, ge=0, lt=1)
    """Share of a layer's input values that are set to 0 while it is pretrained."""


class Stacked(Autoencoder):
    """Dense layers, pretrained one by one. Shapes: x (batch, *item), code (batch, latent_dim)."""

    def __init__(self, item: Item, params: Params, loss: Loss) -> None:
        super().__init__(item, loss)
        self.params = params
        widths = params.widths(item.size)
        self.depth = len(widths) - 1
        self.encoder = dense(widths, params.activation)
        self.decoder = dense(widths[::-1], params.activation)

    def encode(self, x: Tensor) -> Tensor:
        """The code (batch, latent_dim)."""
        return self.encoder(x.flatten(1))

    def decode_logits(self, code: Tensor) -> Tensor:
        """The reconstruction before its output activation (batch, *item)."""
        return torch.unflatten(self.decoder(code), 1, self.item.shape)

    def prepare_for(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        """Pretrain the layers from the outermost inwards, each on what the layers before it make of the records."""
        for level in range(self.depth):
            weights = [weight for part in self.layer(level) for weight in part.parameters()]
            optimizer = torch.optim.Adam(weights, self.params.pretrain_learning_rate)
            for _ in range(self.params.pretrain_epochs):
                for x in batches():
                    optimizer.zero_grad()
                    self.layer_loss(x, level).mean().backward()
                    optimizer.step()

    def layer(self, level: int) -> tuple[nn.Sequential, nn.Sequential]:
        """Layer `level` of the encoder and its mirror in the decoder, each with the activation behind it, if any."""
        # linear layers stand at even places, activations between them
        start, mirrored = 2 * level, 2 * (self.depth - 1 - level)
        return self.encoder[start : start + 2], self.decoder[mirrored : mirrored + 2]

    def layer_loss(self, x: Tensor, level: int) -> Tensor:
        """How badly layer `level` and its mirror undo masking of their own input (batch,)."""
        with torch.no_grad():
            values = self.encoder[: 2 * level](x.flatten(1))
        masked = values * (torch.rand_like(values) >= self.params.pretrain_masking)
        inwards, outwards = self.layer(level)
        restored = outwards(inwards(masked))
        if level == 0:
            return self.reconstruction_loss(torch.unflatten(restored, 1, self.item.shape), x)
        return F.mse_loss(restored, values, reduction="none").mean(1)


MODEL = ModelEntry(Stacked, Params, "dense layers, pretrained one by one to undo noise")

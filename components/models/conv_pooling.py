"""Convolutional autoencoder with pooling: convolutions keep the size, maxima halve it, repeated pixels double it.

Paper: Masci et al., "Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction", ICANN 2011; upsampling
before a convolution by Odena et al., "Deconvolution and Checkerboard Artifacts", Distill 2016.
Departures: trained end to end; batch norm between convolution and activation; upsampling goes to the exact size that
pooling left, so that any image returns to its own.
Limits: images only; about four times the arithmetic of conv, because convolutions run before the halving.
"""

import math

import torch
from torch import Tensor, nn

from components.data.item import Item
from components.layers.images import ConvolutionParams, halvings
from components.models import Autoencoder, Loss, ModelEntry


class Params(ConvolutionParams):
    """Depth and width of the convolutions."""


class ConvPooling(Autoencoder):
    """Max pooling down, upsampling up, for images of any size.

    Shapes: x (batch, channel, height, width), code (batch, latent_dim).
    """

    def __init__(self, item: Item, params: Params, loss: Loss) -> None:
        super().__init__(item, loss)
        sizes = halvings(item.shape[1], item.shape[2], params.depth)
        channels = [item.shape[0], *(params.channels << step for step in range(len(sizes) - 1))]
        self.inner_shape = (channels[-1], *sizes[-1])
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for step in range(len(sizes) - 1):
            outer, inner = channels[step], channels[step + 1]
            down += [nn.Conv2d(outer, inner, 3, padding=1), nn.BatchNorm2d(inner), nn.ReLU()]
            down += [nn.MaxPool2d(2, ceil_mode=True)]
            last = [] if step == 0 else [nn.BatchNorm2d(outer), nn.ReLU()]
            up = [nn.Upsample(size=sizes[step]), nn.Conv2d(inner, outer, 3, padding=1), *last, *up]
        inner_size = math.prod(self.inner_shape)
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(inner_size, params.latent_dim))
        # an image too small to halve has no layer behind this one, and logits must be free to be negative
        self.expand = nn.Sequential(nn.Linear(params.latent_dim, inner_size), *([nn.ReLU()] if up else []))
        self.decoder = nn.Sequential(*up)

    def encode(self, x: Tensor) -> Tensor:
        """The code (batch, latent_dim)."""
        return self.encoder(x)

    def decode_logits(self, code: Tensor) -> Tensor:
        """The reconstruction before its output activation (batch, channel, height, width)."""
        return self.decoder(torch.unflatten(self.expand(code), 1, self.inner_shape))


MODEL = ModelEntry(ConvPooling, Params, "max pooling and upsampling, for images of any size", images_only=True)

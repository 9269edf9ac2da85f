"""Convolutional autoencoder: strided convolutions share weights over the image, so position costs no parameters.

Paper: Masci et al., "Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction", ICANN 2011.
Departures: strides instead of pooling, trained end to end, batch norm between convolution and activation.
Limits: images only; a code much smaller than the last feature map makes the dense layers the largest part.
"""

import math

import torch
from torch import Tensor, nn

from components.data.item import Item
from components.layers.images import ConvolutionParams, halvings
from components.models import Autoencoder, Loss, ModelEntry


class Params(ConvolutionParams):
    """Depth and width of the convolutions."""


class Conv(Autoencoder):
    """Strided convolutions down, transposed convolutions up, for images of any size.

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
            down += [nn.Conv2d(outer, inner, 3, stride=2, padding=1), nn.BatchNorm2d(inner), nn.ReLU()]
            # (in - 1) * 2 - 2 + 3 + padding: an even side needs one more row than an odd one
            padding = tuple(1 - side % 2 for side in sizes[step])
            last = [] if step == 0 else [nn.BatchNorm2d(outer), nn.ReLU()]
            up = [nn.ConvTranspose2d(inner, outer, 3, 2, 1, output_padding=padding), *last, *up]
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


MODEL = ModelEntry(Conv, Params, "strided convolutions, for images of any size", images_only=True)

"""U-Net autoencoder: skips carry detail past the code while training, and the code alone must do when it counts.

Paper: Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015.
Departures: a model with skips can copy its input past any code, so each record loses all its skips with a probability
in training, and validation, scoring and export use none: decode(encode(x)) is the reconstruction. The norm
in the decoder treats each record by itself, because batch norm would mix statistics of records with skips and without.
`speciality` measures what the skips would leak.
Limits: images only; what the skips add in training is a hint, not capacity: the code is the only way out.
"""

import itertools
import math

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from components.data.item import Item
from components.layers.images import ConvolutionParams, RecordNorm, halvings
from components.models import Autoencoder, Loss, ModelEntry


class Params(ConvolutionParams):
    """Depth, width and how often skips are dropped."""

    skip_dropout: float = Field(0.5, ge=0, le=1)
    """Probability that a training record is decoded from its code alone; 0 never practises what scoring does."""


class UNet(Autoencoder):
    """Convolutions down and up, with skips between layers of one size that only training uses.

    Shapes: x (batch, channel, height, width), code (batch, latent_dim); a skip (batch, feature, height, width).
    """

    def __init__(self, item: Item, params: Params, loss: Loss) -> None:
        super().__init__(item, loss)
        self.skip_dropout = params.skip_dropout
        self.sizes = halvings(item.shape[1], item.shape[2], params.depth)
        channels = [item.shape[0], *(params.channels << step for step in range(len(self.sizes)))]
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU())
            for before, after in itertools.pairwise(channels)
        )
        self.inner_shape = (channels[-1], *self.sizes[-1])
        inner_size = math.prod(self.inner_shape)
        self.to_code = nn.Linear(inner_size, params.latent_dim)
        self.from_code = nn.Linear(params.latent_dim, inner_size)
        # innermost first; each takes what comes from below and the skip of its own size
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inner + outer, outer, 3, padding=1), RecordNorm(outer), nn.ReLU())
            for inner, outer in itertools.pairwise(channels[:0:-1])
        )
        self.last = nn.Conv2d(channels[1], item.shape[0], 1)

    def encode(self, x: Tensor) -> Tensor:
        """The code (batch, latent_dim)."""
        return self.encode_with_skips(x)[0]

    def encode_with_skips(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The code and the features of every size but the innermost, from the outside inwards."""
        skips = []
        for layer in self.down[:-1]:
            x = layer(x)
            skips.append(x)
            x = F.max_pool2d(x, 2, ceil_mode=True)
        return self.to_code(self.down[-1](x).flatten(1)), skips

    def decode_logits(self, code: Tensor) -> Tensor:
        """The reconstruction from the code alone, before its output activation (batch, channel, height, width)."""
        return self.decode_with_skips(code, None)

    def decode_with_skips(self, code: Tensor, skips: list[Tensor] | None) -> Tensor:
        """The same with the encoder's features at hand; None stands for features that are all zeros."""
        x = torch.relu(torch.unflatten(self.from_code(code), 1, self.inner_shape))
        for step, layer in enumerate(self.up):
            outer = len(self.up) - 1 - step
            x = F.interpolate(x, self.sizes[outer])
            # a layer puts out as many features as its skip brings
            absent = (0, 0, 0, 0, 0, layer[0].out_channels)
            x = layer(torch.cat([x, skips[outer]], 1) if skips else F.pad(x, absent))
        return self.last(x)

    def objective(self, x: Tensor, target: Tensor | None = None) -> dict[str, Tensor]:
        """Reconstruction (batch,): in training with skips for some records, else from the code alone."""
        code, skips = self.encode_with_skips(x)
        if self.training:
            kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.skip_dropout
            logits = self.decode_with_skips(code, [skip * kept for skip in skips])
        else:
            logits = self.decode_logits(code)
        return {"reconstruction": self.reconstruction_loss(logits, x if target is None else target)}

    def speciality(self, x: Tensor) -> dict[str, Tensor]:
        """Squared error (batch,) with skips, and the share of the code's error that they would take away by copying."""
        code, skips = self.encode_with_skips(x)
        copied = self.activate(self.decode_with_skips(code, skips))
        alone, with_skips = ((y - x).square().flatten(1).mean(1) for y in (self.decode(code), copied))
        return {"skip_mse": with_skips, "skip_leak": 1 - with_skips / alone.clamp(min=1e-12)}


MODEL = ModelEntry(UNet, Params, "skips as a hint in training, the code alone when it counts", images_only=True)

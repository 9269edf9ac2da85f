"""Residual autoencoder: blocks that add to their input, so that many dense layers train as easily as few.

Paper: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
Departures: dense blocks instead of convolutions; a block's last norm starts at a tenth, so that a fresh block is almost
the identity (Goyal et al., "Accurate, Large Minibatch SGD", 2017, start at 0, where the block's weights do not move).
Limits: more weights per width than vanilla; on a few hundred records the extra depth fits noise.
"""

import itertools

import torch
from pydantic import Field
from torch import Tensor, nn

from components.data.item import Item
from components.layers.dense import BatchNorm, DenseParams
from components.models import Autoencoder, Loss, ModelEntry


class Params(DenseParams):
    """Widths and depth."""

    blocks: int = Field(1, ge=1, le=32)
    """Residual blocks at each hidden width, in the encoder and in the decoder; each has two linear layers."""


class Block(nn.Module):
    """x -> relu(x + f(x)), f two linear layers with batch norm. Shapes: (batch, width) both."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Linear(width, width, bias=False),
            BatchNorm(width),
            nn.ReLU(),
            nn.Linear(width, width, bias=False),
            BatchNorm(width),
        )
        nn.init.constant_(self.change[-1].weight, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        """The input with what the block adds to it."""
        return torch.relu(x + self.change(x))


class Residual(Autoencoder):
    """Dense layers with residual blocks behind each. Shapes: x (batch, *item), code (batch, latent_dim)."""

    def __init__(self, item: Item, params: Params, loss: Loss) -> None:
        super().__init__(item, loss)
        widths = params.widths(item.size)
        self.encoder = stack(widths, params.blocks)
        self.decoder = stack(widths[::-1], params.blocks)

    def encode(self, x: Tensor) -> Tensor:
        """The code (batch, latent_dim)."""
        return self.encoder(x.flatten(1))

    def decode_logits(self, code: Tensor) -> Tensor:
        """The reconstruction before its output activation (batch, *item)."""
        return torch.unflatten(self.decoder(code), 1, self.item.shape)


def stack(widths: list[int], blocks: int) -> nn.Sequential:
    """A layer that changes the width, then `blocks` that keep it, for each hidden width; a bare linear layer last."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths[:-1]):
        layers += [nn.Linear(before, after, bias=False), BatchNorm(after), nn.ReLU()]
        layers += [Block(after) for _ in range(blocks)]
    return nn.Sequential(*layers, nn.Linear(*widths[-2:]))


MODEL = ModelEntry(Residual, Params, "dense residual blocks, for deep networks")

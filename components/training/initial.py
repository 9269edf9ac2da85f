"""Weights before the first step, drawn from torch's current seed.

Papers: Glorot and Bengio, AISTATS 2010 (xavier); He et al., ICCV 2015 (kaiming); Saxe, McClelland and Ganguli, ICLR
2014 (orthogonal). `guide` is kaiming with the variance of the gradient kept (fan-out) instead of the signal's.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from components.models import Autoencoder, Blueprint

_LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)

DRAWS: dict[str, Callable[[Tensor], object]] = {
    "xavier": nn.init.xavier_uniform_,
    "kaiming": lambda weight: nn.init.kaiming_normal_(weight, mode="fan_in", nonlinearity="relu"),
    "guide": lambda weight: nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu"),
    "orthogonal": nn.init.orthogonal_,
}
"""Name, then what fills a weight (out, in, ...)."""


def build(blueprint: Blueprint, init: str, seed: int, where: str = "variants") -> Autoencoder:
    """The network before its first step; equal arguments give equal weights.

    Args:
        init: a key of DRAWS, or "default" for the layers' own; seed: torch's, set here.

    Raises:
        UserError: the code size or the kind of data does not suit the model; `where` names the variant.
    """
    torch.manual_seed(seed)
    network = blueprint.build(where)
    if init != "default":
        for layer in network.modules():
            if isinstance(layer, _LAYERS):
                _fill(layer, DRAWS[init])
    return network


@torch.no_grad()
def _fill(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, draw: Callable[[Tensor], object]) -> None:
    # a transposed convolution keeps its weight as (in, out, height, width)
    swapped = isinstance(layer, nn.ConvTranspose2d)
    weight = layer.weight.transpose(0, 1).contiguous() if swapped else layer.weight
    draw(weight)
    if swapped:
        layer.weight.copy_(weight.transpose(0, 1))
    if layer.bias is not None:
        layer.bias.zero_()

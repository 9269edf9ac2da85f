"""Optimizers, with weight decay on weights only: a pull on biases and norms makes nothing simpler."""

from typing import Any

import torch
from torch import nn

from components.params.train import Params


def make_optimizer(network: nn.Module, params: Params) -> torch.optim.Optimizer:
    """The optimizer that `train.optimizer` names, its weights in one group that decays and one that does not."""
    options: dict[str, Any] = {"lr": params.learning_rate, "fused": True}
    if params.optimizer == "sgd":
        return torch.optim.SGD(groups(network, params.weight_decay), momentum=params.momentum, **options)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[params.optimizer]
    return kind(groups(network, params.weight_decay), **options)


def groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters with two or more dimensions, which decay, and the others: biases, and scales of norms."""
    decayed = [weight for weight in network.parameters() if weight.ndim >= 2]
    spared = [weight for weight in network.parameters() if weight.ndim < 2]
    parts = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return [part for part in parts if part["params"]]

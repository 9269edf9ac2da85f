"""Sparse autoencoder: few code units speak for each record, so the code may be large and its units stay readable.

Paper: Ng, "Sparse autoencoder", CS294A notes, 2011 (kl); Makhzani and Frey, "k-Sparse Autoencoders", ICLR 2014 (top_k).
Departures: each penalty gets the code it can work on: l1 a ReLU, whose zeros are exact; kl a sigmoid, whose mean is
taken in logarithms, so that a dead unit has a finite penalty and a gradient; winner_take_all and top_k a linear one.
top_k shrinks what it keeps by the largest magnitude that it drops: it is continuous, and no rounding of another runtime
can change which units speak. Kl compares means over a batch, and every record of the batch bears the same penalty.
Limits: a code as large as the record or larger has no PCA to be compared with; without a penalty it copies.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from components.data.item import Item
from components.layers.dense import DenseParams, dense
from components.models import Autoencoder, Loss, ModelEntry

TINY = 1e-12
"""Keeps the logarithm of a code that is all zeros finite."""
ACTIVE = 0.1
"""A unit counts as active above this share of the record's largest."""


class Params(DenseParams):
    """How sparsity is asked for, and how strongly."""

    latent_dim: int = Field(128, ge=1)
    """Code size; it may exceed the record's."""
    penalty: Literal["l1", "kl", "winner_take_all", "top_k"] = "kl"
    """l1: small mean magnitude; kl: each unit's mean activation near `target`; winner_take_all: a small mean beside the
    largest; top_k: all but `k` units are 0, and no penalty is needed."""
    sparsity_weight: float = Field(1e-3, ge=0, le=100)
    """Factor on the penalty; 1e-3 to 1e-1 is usual."""
    target: float = Field(0.05, gt=0, lt=1)
    """kl: mean activation of each unit over the records."""
    k: int | None = Field(None, ge=1)
    """top_k: units that may differ from 0 in one record; null is an eighth of the code."""

    @property
    def kept(self) -> int:
        """Units that top_k keeps."""
        return self.k or max(1, self.latent_dim // 8)

    @model_validator(mode="after")
    def _check(self) -> "Params":
        if self.kept > self.latent_dim:
            raise ValueError(f"k must be at most latent_dim ({self.latent_dim}), got {self.k}")
        return self


class Sparse(Autoencoder):
    """Dense layers around a sparse code. Shapes: x (batch, *item), code (batch, latent_dim)."""

    def __init__(self, item: Item, params: Params, loss: Loss) -> None:
        super().__init__(item, loss)
        self.params, self.penalty = params, PENALTIES[params.penalty]
        widths = params.widths(item.size)
        self.encoder = dense(widths)
        self.decoder = dense(widths[::-1])

    def encode(self, x: Tensor) -> Tensor:
        """The code (batch, latent_dim)."""
        return self.penalty.activate(self.encoder(x.flatten(1)), self.params)

    def decode_logits(self, code: Tensor) -> Tensor:
        """The reconstruction before its output activation (batch, *item)."""
        return torch.unflatten(self.decoder(code), 1, self.item.shape)

    def objective(self, x: Tensor, target: Tensor | None = None) -> dict[str, Tensor]:
        """Reconstruction and, except for top_k, the weighted penalty (batch,)."""
        values = self.encoder(x.flatten(1))
        logits = self.decode_logits(self.penalty.activate(values, self.params))
        terms = {"reconstruction": self.reconstruction_loss(logits, x if target is None else target)}
        if self.penalty.cost:
            terms["sparsity"] = self.params.sparsity_weight * self.penalty.cost(values, self.params)
        return terms

    def speciality(self, x: Tensor) -> dict[str, Tensor]:
        """Per record (batch,): share of units that are active, share that are 0, and Hoyer's measure of sparsity."""
        magnitude = self.encode(x).abs()
        largest = magnitude.amax(1, keepdim=True)
        return {
            "active_share": (magnitude > ACTIVE * largest).float().mean(1),
            "zero_share": (magnitude == 0).float().mean(1),
            "hoyer_sparsity": hoyer(magnitude),
        }


def keep_largest(values: Tensor, k: int) -> Tensor:
    """Soft threshold at the (k+1)-th largest magnitude of each record (batch, unit), k below the number of units: at
    most k values are not 0.
    """
    magnitude = values.abs()
    threshold = magnitude.topk(k + 1, dim=1).values[:, k:]
    return values.sign() * torch.relu(magnitude - threshold)


def divergence(values: Tensor, target: float) -> Tensor:
    """KL(target ‖ mean of sigmoid(values) over the batch), summed over units, the same for each record (batch,).

    Means are taken as logsumexp of log-sigmoids, which is finite for any finite value.
    """
    values, count = values.float(), math.log(len(values))
    log_on = torch.logsumexp(F.logsigmoid(values), 0) - count
    log_off = torch.logsumexp(F.logsigmoid(-values), 0) - count
    entropy = target * math.log(target) + (1 - target) * math.log(1 - target)
    return (entropy - target * log_on - (1 - target) * log_off).sum().expand(len(values))


def dominance(code: Tensor) -> Tensor:
    """Log mean|z| - log max|z| of each record (batch,): 0 where all units are alike, -log(units) where one speaks."""
    magnitude = code.abs() + TINY
    return magnitude.mean(1).log() - magnitude.amax(1).log()


def hoyer(magnitude: Tensor) -> Tensor:
    """(sqrt(n) - l1/l2) / (sqrt(n) - 1) of each record (batch,): 0 where all units are alike, 1 where one speaks.

    A code of one unit, or one that is all zeros, counts as sparse (Hoyer, JMLR 5, 2004, leaves it open).
    """
    root = math.sqrt(magnitude.shape[1])
    if root == 1:
        return magnitude.new_ones(len(magnitude))
    ratio = magnitude.sum(1) / magnitude.square().sum(1).sqrt().clamp(min=TINY)
    return torch.where(ratio == 0, 1.0, (root - ratio) / (root - 1))


@dataclass(frozen=True)
class Penalty:
    """One way to be sparse; both functions take what the encoder's last layer gives (batch, latent_dim)."""

    activate: Callable[[Tensor, Params], Tensor]
    """The code (batch, latent_dim)."""
    cost: Callable[[Tensor, Params], Tensor] | None
    """The penalty before its weight (batch,), where the code is not sparse by itself."""


PENALTIES = {
    "l1": Penalty(lambda values, _: torch.relu(values), lambda values, _: torch.relu(values).mean(1)),
    "kl": Penalty(lambda values, _: torch.sigmoid(values), lambda values, params: divergence(values, params.target)),
    "winner_take_all": Penalty(lambda values, _: values, lambda values, _: dominance(values)),
    "top_k": Penalty(
        lambda values, params: keep_largest(values, params.kept) if params.kept < params.latent_dim else values, None
    ),
}

MODEL = ModelEntry(Sparse, Params, "few active units: l1, kl, winner_take_all or top_k", overcomplete=True)

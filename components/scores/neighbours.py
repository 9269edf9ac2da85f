"""Distance to the nearest of a memory of training records, by their codes or by the scaled records themselves.

Papers: Ramaswamy, Rastogi and Shim, SIGMOD 2000 (distance to neighbours); Roth et al., "Towards Total Recall in
Industrial Anomaly Detection", CVPR 2022 (a memory inside the detector).
Departures: the memory is a random subset of train, not a coreset, so that it is as dense as the data.
Limits: the exported file holds the memory; in the space of records that is `memory` whole records (over pool^2).
Contributions: the squared difference from the neighbours, for codes that of the reconstructions of both.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from components.data.item import Item
from components.scores import Decode, Score, ScoreEntry, ScoreParams, Seen, State, spread


class Params(ScoreParams):
    """The memory, and how it is asked."""

    space: Literal["code", "record"] = "code"
    """What distances are between."""
    pool: int = Field(1, ge=1, le=64)
    """Of images as they are: side of the squares of pixels that are averaged first, so that a shift by a pixel counts
    for less."""
    power: float = Field(1.0, gt=0, le=1)
    """Of images as they are: brightness is raised to it first; 0.5, the square root, lets faint texture count beside
    bright shapes."""
    k: int = Field(3, ge=1, le=1000)
    """Neighbours whose distances are averaged."""
    memory: int = Field(5000, ge=1, le=1_000_000)
    """Training records kept, a random subset where there are more."""


class Neighbours(Score):
    """Mean Euclidean distance to the k nearest, over the square root of the number of values."""

    @property
    def meaning(self) -> str:
        """See `Score`."""
        return f"distance to the {self.params.k} nearest training {self.params.space}s"

    def forward(self, x: Tensor, x_hat: Tensor, code: Tensor) -> Tensor:
        """See `Score`."""
        del x_hat
        mine = _place(self.params, x, code)
        return (mine[:, None] - self._nearest(mine)).square().mean(2).sqrt().mean(1)

    def contributions(self, x: Tensor, x_hat: Tensor, code: Tensor, decode: Decode) -> Tensor:
        """See `Score`."""
        mine = _place(self.params, x, code)
        near = self._nearest(mine).mean(1)
        score = self(x, x_hat, code)
        if self.params.space == "code":
            return spread(score, (x_hat - decode(near)).square())
        weights = (mine - near).square()
        return spread(score, weights.reshape(x.shape) if self.params.pool == 1 else self._unpool(weights))

    def _unpool(self, weights: Tensor) -> Tensor:
        channels, height, width = self.item.shape
        pool = self.params.pool
        small = weights.reshape(-1, channels, -(-height // pool), -(-width // pool))
        return small.repeat_interleave(pool, 2).repeat_interleave(pool, 3)[:, :, :height, :width]

    def _nearest(self, mine: Tensor) -> Tensor:
        """The k nearest of the memory (batch, k, value)."""
        # the order of squared distances is that of |b|^2 - 2ab; the distances themselves are taken from differences,
        # which do not cancel
        order = self.memory.square().sum(1) - 2 * mine @ self.memory.T
        near = order.topk(self.params.k, dim=1, largest=False).indices
        return self.memory[near]


def _place(params: Params, x: Tensor, code: Tensor) -> Tensor:
    """Where a record lies (batch, value)."""
    if params.space == "code":
        return code
    if params.power != 1:
        x = x.clamp(min=0).pow(params.power)
    # ceil_mode: a last row of smaller squares is averaged over the pixels it has
    return (F.avg_pool2d(x, params.pool, ceil_mode=True) if params.pool > 1 else x).flatten(1)


def _fit(params: Params, train: Seen, validation: Seen, seed: int) -> State:
    del validation
    of = _place(params, train.x, train.code)
    if len(of) <= params.k:
        raise ValueError(f"k {params.k} needs more than {len(of)} training records")
    rows = torch.randperm(len(of), generator=torch.Generator().manual_seed(seed))[: params.memory].sort().values
    return {"memory": of[rows].contiguous()}


def _check(params: Params, item: Item) -> None:
    if (params.pool > 1 or params.power != 1) and (params.space == "code" or not item.is_image):
        raise ValueError("pool and power need images and space: record")


SCORE = ScoreEntry(Neighbours, Params, "distance to the nearest training records, by code or as they are", _fit, _check)

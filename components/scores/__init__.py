"""What makes a record strange: scores, one file each. A score is one part of a detector (components.scoring.detector).

A score is fitted once to records of train and validation, all normal, and is then a few torch operations that travel
inside every exported graph. It comes with its contributions: how much each value of the record adds to it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from components.data.item import Item
from components.params import Options, validate
from components.runtime.registry import Registry

State = dict[str, Tensor]
"""What a fit leaves: the buffers of a score, by name."""
Decode = Callable[[Tensor], Tensor]
"""Codes (batch, code) to reconstructions (batch, *item)."""


@dataclass(frozen=True)
class Seen:
    """Records of one split in scaled units, and what the trained model makes of them."""

    x: Tensor
    """(record, *item)"""
    x_hat: Tensor
    """(record, *item)"""
    code: Tensor
    """(record, code)"""


class ScoreParams(Options):
    """What a user may set; a score of its own adds fields with docstrings."""


class Score(nn.Module):
    """A record's strangeness, higher is stranger.

    Args:
        params: the score's own.
        item: what a scaled record looks like.
        state: what its fit left.
    """

    meaning: str
    """In a few words, for the card."""

    def __init__(self, params: Any, item: Item, state: State) -> None:
        super().__init__()
        self.params = params
        self.item = item
        for name, value in state.items():
            self.register_buffer(name, value)

    def forward(self, x: Tensor, x_hat: Tensor, code: Tensor) -> Tensor:
        """Not negative. Shapes: (batch, *item) twice, (batch, code) -> (batch,)."""
        raise NotImplementedError

    def contributions(self, x: Tensor, x_hat: Tensor, code: Tensor, decode: Decode) -> Tensor:
        """What each value adds to the score, not negative (batch, *item); they add up to it."""
        raise NotImplementedError


@dataclass(frozen=True)
class ScoreEntry:
    """One row of the registry."""

    build: Callable[[Any, Item, State], Score]
    params: type[ScoreParams]
    description: str
    fit: Callable[[Any, Seen, Seen, int], State] | None = None
    """(params, train, validation, seed) to the score's state; raises ValueError where the records do not suffice. None
    where there is nothing to fit."""
    check: Callable[[Any, Item], None] | None = None
    """Raises ValueError where the kind of data does not suit; None where any does."""


_REGISTRY = Registry(__name__, "SCORE", "score")


def known() -> list[str]:
    """Names of all scores, from the listing of this folder."""
    return _REGISTRY.known()


def find(name: str, where: str) -> ScoreEntry:
    """The registry entry of a score; imports its file only.

    Raises:
        UserError: no such score; names the nearest one.
    """
    return _REGISTRY.find(name, where)


def resolve(parts: Mapping[str, Any], where: str) -> dict[str, ScoreParams]:
    """Each named score with its params, defaults filled in.

    Raises:
        UserError: an unknown score or key, or a value out of its range.
    """
    return {name: validate(find(name, where).params, given, f"{where}.{name}") for name, given in parts.items()}


def spread(score: Tensor, weights: Tensor) -> Tensor:
    """A score (batch,) over the values of its record in proportion to weights (batch, *item) that are not negative.

    Where all weights are zero every value gets the same.
    """
    flat = weights.flatten(1)
    total = flat.sum(1, keepdim=True)
    even = flat.new_full((), 1 / flat.shape[1])
    shares = (flat / total.clamp(min=_TINY)).where(total > _TINY, even)
    return (shares * score[:, None]).reshape(weights.shape)


_TINY = 1e-30

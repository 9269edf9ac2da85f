"""The zoo: one model is one file of this folder, found by its name; this page holds what all of them promise.

A file defines `Params` (its numbers), a class derived from `Autoencoder`, and `MODEL`, its entry in the registry.
Code asks an entry for a capability and never compares a model's name.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field
from torch import Tensor, nn

from components.data.item import Item
from components.objectives import LOSSES
from components.params import Options
from components.runtime.errors import UserError
from components.runtime.registry import Registry

Loss = str
"""A key of `components.objectives.LOSSES`."""


class ModelParams(Options):
    """Numbers of one model: strict types, no unknown keys; every model has a code size."""

    latent_dim: int = Field(32, ge=1)
    """Code size; most models need it smaller than the record."""


class Autoencoder(nn.Module):
    """Encoder and decoder with a named, per-record objective.

    Shapes: x (batch, *item), code (batch, latent_dim), reconstruction (batch, *item) in scaled units.
    A model implements `encode` and `decode_logits`; a regularised one adds terms in `objective`.

    Args:
        item: what a scaled record looks like.
        loss: what the reconstruction is trained on; it also decides the output's activation ("bce": sigmoid,
            "mixed": softmax over the levels of a column, all others: linear).
    """

    def __init__(self, item: Item, loss: Loss) -> None:
        super().__init__()
        self.item = item
        self.loss = loss
        self.distance = LOSSES[loss].distance
        """Replaced before training where the loss is made of a file."""

    def encode(self, x: Tensor) -> Tensor:
        """The code (batch, latent_dim)."""
        raise NotImplementedError

    def decode_logits(self, code: Tensor) -> Tensor:
        """The reconstruction before its output activation (batch, *item)."""
        raise NotImplementedError

    def decode(self, code: Tensor) -> Tensor:
        """The reconstruction (batch, *item) in scaled units."""
        return self.activate(self.decode_logits(code))

    def activate(self, logits: Tensor) -> Tensor:
        """The reconstruction from what stands before its output activation. Shapes: (batch, *item) both."""
        return LOSSES[self.loss].activate(logits, self.item)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(reconstruction, code)."""
        code = self.encode(x)
        return self.decode(code), code

    def reconstruction_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean loss over the values of each record (batch,); records of a ragged batch weigh the same."""
        return self.distance(logits, target, self.item)

    def objective(self, x: Tensor, target: Tensor | None = None) -> dict[str, Tensor]:
        """Named terms (batch,) each; their sum is minimised.

        Args:
            x: what the encoder sees.
            target: what to reconstruct, x itself unless a model that wraps this one has corrupted x.
        """
        target = x if target is None else target
        return {"reconstruction": self.reconstruction_loss(self.decode_logits(self.encode(x)), target)}

    def prepare_for(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        """Set what gradient steps build on (pretrained layers, a fixed projection); most models need nothing.

        Called once, before the first step. Random draws come from torch's seed; each call of `batches` is one pass over
        the scaled training records, in batches (batch, *item) of a new order.

        Raises:
            ValueError: the records do not suffice.
        """

    def speciality(self, x: Tensor) -> dict[str, Tensor]:
        """What this model is for beyond reconstruction, measured per record (batch,); empty for most."""
        del x
        return {}


@dataclass(frozen=True)
class ModelEntry:
    """One row of the registry."""

    build: Callable[..., Autoencoder]
    """(item, params, loss) or, for a wrapping model, (base, params); raises ValueError where they do not fit."""
    params: type[ModelParams]
    description: str
    closed_form: bool = False
    """Fitted by `fit(batches)` instead of gradient steps."""
    squared_error: bool = False
    """Minimises the squared error and takes no other loss."""
    images_only: bool = False
    overcomplete: bool = False
    """The code may be as large as the record or larger."""
    wraps: bool = False
    """Wraps another model, named `base` in params."""
    default_base: str | None = None

    @property
    def name(self) -> str:
        """The model's name: that of its file."""
        return self.params.__module__.rpartition(".")[2]


_REGISTRY = Registry(__name__, "MODEL", "model")


def known() -> list[str]:
    """Names of all models, from the listing of this folder."""
    return _REGISTRY.known()


def file_digest(name: str) -> str:
    """SHA-256 of a model's file, by which its results know when it changed."""
    return hashlib.sha256((Path(__file__).parent / f"{name}.py").read_bytes()).hexdigest()


def bases() -> list[str]:
    """Names of the models that another one can wrap."""
    entries = [find(name) for name in known()]
    return [entry.name for entry in entries if not entry.wraps and not entry.closed_form]


def find(name: Any, where: str = "model") -> ModelEntry:
    """The registry entry of a model; imports that model's file only.

    Raises:
        UserError: no such model; names the nearest one.
    """
    return _REGISTRY.find(name, where)


@dataclass(frozen=True)
class Blueprint:
    """Everything that decides a network's shape; plain data, stored in config.json beside the weights."""

    model: str
    params: dict[str, Any]
    base: str | None
    base_params: dict[str, Any] | None
    item: Item
    loss: Loss

    def build(self, where: str = "variants") -> Autoencoder:
        """An untrained network, its weights drawn from torch's current seed.

        Raises:
            UserError: a size or the kind of data does not suit the model; `where` names the variant.
        """
        entry = find(self.model, f"{where}.model")
        try:
            if not self.base:
                return self._build_one(entry, self.params, where)
            base = self._build_one(find(self.base, f"{where}.base"), self.base_params or {}, where)
            return entry.build(base, entry.params.model_validate(self.params))
        except ValueError as error:
            raise UserError(where, str(error), f"change {where} in params.yaml") from None

    def _build_one(self, entry: ModelEntry, params: dict[str, Any], where: str) -> Autoencoder:
        checked = entry.params.model_validate(params)
        if entry.images_only and not self.item.is_image:
            raise UserError(f"{where}.model", f"'{entry.name}' needs images, the records are rows", "use vanilla")
        largest = self.item.size - (0 if entry.closed_form else 1)
        if not entry.overcomplete and checked.latent_dim > largest:
            raise UserError(
                f"{where}.latent_dim",
                f"must be between 1 and {largest} (records have {self.item.size} values), got {checked.latent_dim}",
                "choose a smaller code",
            )
        return entry.build(self.item, checked, self.loss)

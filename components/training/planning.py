"""What resolve and prepare together say about a variant: its params, its data and the network that follows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.data.item import Item
from components.data.splits import Manifest, load_manifest
from components.models import Blueprint, find
from components.objectives import choose
from components.params.train import Params
from components.runtime.errors import UserError
from components.runtime.outputs import ARTIFACTS, read_json


@dataclass(frozen=True)
class Plan:
    """One variant, ready to be built."""

    where: str
    """Its key in params.yaml, for messages."""
    resolved: dict[str, Any]
    """artifacts/resolve/V.json."""
    params: Params
    manifest: Manifest
    blueprint: Blueprint

    @property
    def closed_form(self) -> bool:
        """Whether it is fitted without steps."""
        return find(self.blueprint.model).closed_form


def plan(variant: str) -> Plan:
    """Plan a variant.

    Raises:
        UserError: it is not resolved, or its loss does not suit the model or the data.
    """
    resolved = read_json(ARTIFACTS / "resolve" / f"{variant}.json", "resolve")
    params, manifest, where = Params.model_validate(resolved["train"] or {}), load_manifest(), f"variants.{variant}"
    parts = {part: resolved[part] for part in ("model", "params", "base", "base_params")}
    models = [name for name in (parts["model"], parts["base"]) if name]
    blueprint = Blueprint(**parts, item=manifest.item, loss=loss_of(models, params.loss, manifest.item, where))
    return Plan(where, resolved, params, manifest, blueprint)


def loss_of(models: Sequence[str], wanted: str, item: Item, where: str) -> str:
    """The loss that a model, and the base it wraps, are trained on.

    Raises:
        UserError: one of them has no such loss, or it does not suit the records.
    """
    bound = next((name for name in models if find(name).squared_error), None)
    if bound is None:
        return choose(wanted, item, where)
    if wanted not in ("auto", "mse"):
        raise UserError(f"{where}.loss", f"'{bound}' has no loss but 'mse', got '{wanted}'", "use mse or auto")
    return "mse"

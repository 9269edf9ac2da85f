"""`variants:` a mapping from a name to a model and what differs from that model's and `train:`'s defaults.

A variant is written flat (`sparse: {model: sparse, penalty: kl, epochs: 40}`); here its keys are dealt to the model's
params, to its base's params when the model wraps another, and to the training section.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from components import models
from components.params import check_name, mapping, unknown, validate
from components.params.threshold import OF_VARIANT
from components.params.threshold import Params as ThresholdParams
from components.params.train import Params as TrainParams
from components.runtime.errors import UserError

_EXAMPLE = "name: {model: vanilla}"


@dataclass(frozen=True)
class Variant:
    """A variant with every default filled in."""

    name: str
    model: str
    params: models.ModelParams
    base: str | None
    base_params: models.ModelParams | None
    train: TrainParams


def resolve(name: str, raw: Mapping[str, Any]) -> Variant:
    """Resolve one variant of params.yaml.

    Raises:
        UserError: unknown variant, model, base or key, or a value out of its range.
    """
    variants = mapping(raw.get("variants"), "variants", _EXAMPLE)
    if name not in variants:
        raise unknown("variants", "variant", name, variants)
    where = f"variants.{name}"
    check_name(name, where)
    given = dict(mapping(variants[name], where, _EXAMPLE))
    if "model" not in given:
        raise UserError(f"{where}.model", "is missing", f"name a model: {', '.join(models.known())}")
    entry = models.find(given.pop("model"), f"{where}.model")
    base = None
    if entry.wraps:
        base = models.find(given.pop("base", entry.default_base), f"{where}.base")
        if base.wraps or base.closed_form:
            raise UserError(f"{where}.base", f"'{base.name}' cannot be wrapped", f"use {', '.join(models.bases())}")
    return _deal(name, entry, base, given, mapping(raw.get("train") or {}, "train", _EXAMPLE))


def _deal(
    name: str,
    entry: models.ModelEntry,
    base: models.ModelEntry | None,
    given: Mapping[str, Any],
    train: Mapping[str, Any],
) -> Variant:
    where = f"variants.{name}"
    validate(TrainParams, train, "train")
    homes: list[type[BaseModel]] = [entry.params, TrainParams, *([base.params] if base else [])]
    known = {field for home in homes for field in home.model_fields} | set(OF_VARIANT)
    for key in given:
        if key not in known:
            raise unknown(where, "key", str(key), {*known, "model", *(["base"] if base else [])})

    def pick(home: type[BaseModel]) -> dict[str, Any]:
        return {key: value for key, value in given.items() if key in home.model_fields}

    # read by `threshold@V` alone, so that another score retrains nothing
    validate(ThresholdParams, {key: given[key] for key in OF_VARIANT if key in given}, where)
    params = validate(entry.params, pick(entry.params), where)
    # one code, one size: a default of the base's must not contradict the wrapper's
    code = {"latent_dim": params.latent_dim}
    return Variant(
        name=name,
        model=entry.name,
        params=params,
        base=base.name if base else None,
        base_params=validate(base.params, {**pick(base.params), **code}, where) if base else None,
        train=validate(TrainParams, {**train, **pick(TrainParams)}, where),
    )


def resolve_all(raw: Mapping[str, Any]) -> list[Variant]:
    """Resolve every variant, in the order of params.yaml."""
    variants = mapping(raw.get("variants"), "variants", _EXAMPLE)
    if not variants:
        raise UserError("variants", "is empty", "name at least one variant, e.g. `pca: {model: pca}`")
    return [resolve(name, raw) for name in variants]

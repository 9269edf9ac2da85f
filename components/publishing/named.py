"""A registered version by the name that a person gives it."""

import re
from typing import TYPE_CHECKING

from components.params import unknown
from components.publishing.store import Store
from components.runtime.errors import UserError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_REFERENCE = re.compile(r"(models:/)?(?P<name>[^@/:]+)(@(?P<alias>[^@/]+)|/(?P<number>\d+))")


def find_named(store: Store, reference: str, where: str) -> "ModelVersion":
    """The version behind NAME@ALIAS or NAME/NUMBER, with MLflow's `models:/` before it or without.

    Raises:
        UserError: at `where`: no such model, alias or version; names the nearest one.
    """
    from mlflow import MlflowException

    parsed = _REFERENCE.fullmatch(reference)
    if parsed is None:
        raise UserError(where, f"'{reference}' names no version", "write NAME@champion, or NAME/3")
    name = parsed["name"]
    found = {model.name: model for model in store.client.search_registered_models()}
    if not found:
        raise UserError(where, "no model is registered", "train and register one: `python -m flows.training`")
    if name not in found:
        raise unknown(where, "model", name, found)
    try:
        if parsed["alias"]:
            return store.client.get_model_version_by_alias(name, parsed["alias"])
        return store.client.get_model_version(name, parsed["number"])
    except MlflowException:
        if parsed["alias"]:
            aliases = sorted(found[name].aliases)
            raise unknown(where, f"alias of {name}", parsed["alias"], aliases) from None
        numbers = sorted(str(v.version) for v in store.client.search_model_versions(f"name = '{name}'"))
        raise unknown(where, f"version of {name}", parsed["number"], numbers) from None

"""`baselines:` a mapping from a name to a simple method and its params; they stand in one table with variants."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components import baselines
from components.params import check_name, mapping, unknown
from components.runtime.errors import UserError

_EXAMPLE = "name: {method: nearest_neighbours}"


@dataclass(frozen=True)
class Baseline:
    """A baseline with every default filled in."""

    name: str
    method: str
    params: baselines.BaselineParams


def resolve(name: str, raw: Mapping[str, Any]) -> Baseline:
    """Resolve one baseline of params.yaml.

    Raises:
        UserError: unknown baseline, method or key, a value out of its range, or a name that a variant has.
    """
    entries = _entries(raw)
    if name not in entries:
        raise unknown("baselines", "baseline", name, entries)
    where = f"baselines.{name}"
    check_name(name, where)
    if name in (raw.get("variants") or {}):
        raise UserError(where, "is also the name of a variant, and both stand in one table", "rename it")
    given = dict(mapping(entries[name], where, _EXAMPLE))
    if "method" not in given:
        raise UserError(f"{where}.method", "is missing", f"name a method: {', '.join(baselines.known())}")
    method = given.pop("method")
    return Baseline(name, method, baselines.resolve(method, given, where))


def resolve_all(raw: Mapping[str, Any]) -> list[Baseline]:
    """Resolve every baseline, in the order of params.yaml; there may be none."""
    return [resolve(name, raw) for name in _entries(raw)]


def _entries(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    if "baselines" not in raw:
        raise UserError("baselines", "is missing", "add it to params.yaml, at least as `baselines: {}`")
    return mapping(raw["baselines"], "baselines", _EXAMPLE)

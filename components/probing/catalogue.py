"""The catalogue of models: what the registry says of each, as text for a terminal."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from components import models
from components.models import ModelEntry

WIDTH = 120
FLAGS = {
    "images_only": "images only",
    "closed_form": "fitted in closed form",
    "squared_error": "squared error only",
    "overcomplete": "the code may exceed the record",
    "wraps": "wraps another model, named `base`",
}
"""Field of a registry entry, then what it means where it is set."""


def catalogue() -> str:
    """Every model with its flags, and its params with what is allowed, the default and the meaning."""
    return "\n\n".join("\n".join(_lines(models.find(name))) for name in models.known())


def _lines(entry: ModelEntry) -> Iterator[str]:
    flags = [meaning for field, meaning in FLAGS.items() if getattr(entry, field)]
    base = [f"base {entry.default_base} by default"] if entry.default_base else []
    yield f"{entry.name}: {entry.description}" + (f" ({'; '.join(flags + base)})" if flags else "")
    for name, schema in entry.params.model_json_schema()["properties"].items():
        yield f"  {name}: {allowed(schema)}; default {json.dumps(schema['default'])}"
        meaning = " ".join(schema["description"].split())
        yield textwrap.fill(meaning, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)


def allowed(schema: Mapping[str, Any]) -> str:
    """What a JSON schema lets through, in words."""
    if "anyOf" in schema:
        return " or ".join(allowed(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    if schema["type"] == "array":
        return f"list of {allowed(schema['items'])}"
    bounds = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    limits = [f"{sign} {schema[key]:g}" for key, sign in bounds.items() if key in schema]
    return " ".join([schema["type"], " and ".join(limits)]).strip()

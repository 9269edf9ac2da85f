"""The catalogue tells of every model what the registry and its params say.

Reference: the fields of the registry and of pydantic's classes.
"""

import json
import sys
from typing import Literal

from conftest import ROOT, must
from pydantic import Field

from components import models
from components.models import ModelEntry, ModelParams
from components.probing.catalogue import FLAGS, allowed, catalogue


def test_every_model_is_listed_with_all_its_params_and_their_defaults() -> None:
    chapters = dict(chapter.split(":", 1) for chapter in catalogue().split("\n\n"))
    assert list(chapters) == models.known()
    for name, text in chapters.items():
        entry = models.find(name)
        assert entry.description in text
        assert all((meaning in text) == getattr(entry, flag) for flag, meaning in FLAGS.items())
        for key, field in entry.params.model_fields.items():
            assert f"  {key}: " in text
            assert f"; default {json.dumps(field.default)}\n" in text
            assert field.description.split()[-1] in text


def test_every_capability_has_words() -> None:
    assert set(FLAGS) == {name for name, value in vars(ModelEntry).items() if isinstance(value, bool)}


def test_ranges_read_as_they_are_meant() -> None:
    class Params(ModelParams):
        """One field of each kind."""

        share: float = Field(0.5, ge=0, lt=1)
        """A share."""
        widths: list[int] | None = None
        """Widths."""
        kind: Literal["a", "b"] = "a"
        """A kind."""
        only: Literal["c"] = "c"
        """One choice."""
        yes: bool = True
        """A truth."""

    schema = Params.model_json_schema()["properties"]
    assert {name: allowed(schema[name]) for name in schema} == {
        "latent_dim": "integer >= 1",
        "share": "number >= 0 and < 1",
        "widths": "list of integer or null",
        "kind": "a | b",
        "only": "c",
        "yes": "boolean",
    }


def test_the_stage_prints_the_catalogue() -> None:
    printed = must(sys.executable, "-m", "components.train", "--list", cwd=ROOT)
    assert printed.strip() == catalogue()

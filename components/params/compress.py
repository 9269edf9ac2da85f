"""The section `compress:`: smaller and faster scorers made of every variant, beside the exported one."""

from typing import Any

from pydantic import Field, field_validator

from components.params import Section


class Params(Section):
    """What to make; nothing costs nothing."""

    methods: dict[str, dict[str, Any] | None] = Field(default_factory=dict)
    """Any of `components/compressing/`, each with its params; {} compresses nothing."""

    @field_validator("methods")
    @classmethod
    def _are_known(cls, methods: dict[str, Any]) -> dict[str, Any]:
        if methods:  # imports torch, and threads are set before that
            from components.compressing import resolve

            resolve(methods)
        return methods

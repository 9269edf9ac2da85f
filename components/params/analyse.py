"""The section `analyse:`: which variants' representations are looked at, and how."""

from typing import Any

from pydantic import Field, field_validator

from components.params import Section


class Params(Section):
    """Analyses take minutes and decide nothing, so they are asked for."""

    variants: list[str] = Field([])
    """Names of `variants` that are analysed; none by default."""
    analyses: dict[str, dict[str, Any] | None] | None = None
    """Some of `components/analyses/`, each with its params; null is all of them with their defaults."""
    records: int = Field(10_000, ge=10, le=1_000_000)
    """Records of each split that are looked at, at most."""

    @field_validator("variants")
    @classmethod
    def _are_named_once(cls, variants: list[str]) -> list[str]:
        twice = sorted({name for name in variants if variants.count(name) > 1})
        if twice:
            raise ValueError(f"must name each variant once, '{twice[0]}' stands there twice")
        return variants

    @field_validator("analyses")
    @classmethod
    def _are_known(cls, analyses: dict[str, Any] | None) -> dict[str, Any] | None:
        if analyses is not None:  # an analysis imports torch, and threads are set before that
            from components.analyses import resolve

            resolve(analyses)
        return analyses

"""The section `threshold:`: what makes a record strange, and the promise about false alarms."""

from typing import Any, Literal

from pydantic import Field, field_validator

from components.params import Section, read_params, validate

Combine = Literal["log_sum", "p_values"]
OF_VARIANT = ("score", "combine")
"""What a variant may override."""


class Params(Section):
    """Scores and their split-conformal calibration."""

    score: dict[str, dict[str, Any] | None] = Field({"reconstruction": None}, min_length=1)
    """One or more of `components/scores/`, each with its params: what a record is judged by."""
    combine: Combine = "log_sum"
    """How several scores become one: the sum of their standardised logarithms, or of the logarithms of their
    p-values."""

    alpha: float = Field(0.05, gt=0, lt=1)
    """Largest share of normal records that may raise an alarm."""
    confidence: float | None = Field(None, gt=0, lt=1)
    """Share of calibration sets that keep alpha; null keeps it on average over calibration sets, with fewer records."""
    max_n: int = Field(10_000, ge=1, le=1_000_000)
    """Calibration scores kept; more make the promise firmer and the exported file larger."""

    @field_validator("score")
    @classmethod
    def _are_known(cls, score: dict[str, Any]) -> dict[str, Any]:
        from components.scores import resolve  # imports torch, and threads are set before that

        resolve(score, "threshold.score")
        return score


def of_variant(variant: str) -> Params:
    """The section with what the variant overrides.

    Raises:
        UserError: a value that is not allowed.
    """
    raw = read_params()
    section, own = raw.get("threshold", {}), raw.get("variants", {}).get(variant, {})
    return validate(Params, {**section, **{key: own[key] for key in OF_VARIANT if key in own}}, "threshold")

"""The section `prepare:`: what is normal, and how records are dealt to splits."""

import math

from pydantic import Field, model_validator

from components.params import Section


class Fractions(Section):
    """Shares of the normal records; they add up to 1."""

    train: float = Field(0.5, gt=0, lt=1)
    """Fits weights."""
    validation: float = Field(0.1, gt=0, lt=1)
    """Picks epochs and the winner."""
    calibration: float = Field(0.2, gt=0, lt=1)
    """Fits the threshold, and nothing else."""
    selection: float = Field(0.05, ge=0, lt=1)
    """With labels, picks the winner by AUROC; 0 keeps no such split."""
    test: float = Field(0.15, gt=0, lt=1)
    """Reports; ignored when the source has a test split of its own (unless it is pooled)."""

    @model_validator(mode="after")
    def _check(self) -> "Fractions":
        total = sum(self.model_dump().values())
        if not math.isclose(total, 1, abs_tol=1e-6):
            raise ValueError(f"must add up to 1, they add up to {total:.6g}")
        return self


class Params(Section):
    """How raw records become the five splits."""

    normal_classes: list[str | int] | None = Field(None, min_length=1)
    """Classes that count as normal; null takes the source's own idea, which for most is: all of them."""
    fractions: Fractions = Fractions()
    """Shares of the splits."""
    split_key: str = Field("hourglass", min_length=1, max_length=64)
    """Key of the hash that deals records to splits; a new key deals anew."""
    pool: bool = False
    """Merge a source's own test split with the rest before splitting."""

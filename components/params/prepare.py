"""The section `prepare:`: what is normal, how records are dealt to splits, and what the columns of a table are."""

import math
from typing import Annotated, Literal

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

    label: str | None = None
    """Of a table: the column that holds the classes; it is no feature."""
    group: str | None = None
    """Of a table: the column whose equal values share a split (a patient, a machine); it is no feature."""
    columns: dict[str, Literal["numeric", "boolean", "categorical", "date", "drop"]] = Field(default_factory=dict)
    """Of a table: the kind of a column, where it is not to be found out."""
    scaling: Literal["standard", "robust", "quantile"] = "standard"
    """Of a table, its numbers and dates: mean and deviation, median and quartiles, or ranks in 0..1."""
    min_level_count: int = Field(5, ge=1)
    """Of a table: a word that occurs less often in train is folded into the level (other)."""
    ranges: dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(default_factory=dict)
    """Of a table: [lowest, highest] plausible value of a numeric column; what lies outside is counted."""

    @model_validator(mode="after")
    def _check(self) -> "Params":
        for name, (low, high) in self.ranges.items():
            if low >= high:
                raise ValueError(f"ranges.{name} must be [lowest, highest], got [{low:g}, {high:g}]")
        if self.label is not None and self.label == self.group:
            raise ValueError(f"label and group are both '{self.label}': classes are no groups")
        return self

    @property
    def of_tables(self) -> dict[str, object]:
        """The settings that only a table can have and that are set."""
        found = {name: getattr(self, name) for name in ("label", "group", "columns", "ranges")}
        return {name: value for name, value in found.items() if value}

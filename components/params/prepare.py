"""The section `prepare:`: what is normal, how records are dealt to splits, what the columns of a table are, and what
makes data suspicious.
"""

import math
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from components.params import Section, unknown

Severity = Literal["error", "warning", "off"]

SEVERITIES: dict[str, Severity] = {
    "schema": "error",
    "additions": "warning",
    "ranges": "warning",
    "missing": "warning",
    "duplicates": "warning",
    "duplicates_across": "warning",
    "near_constant": "warning",
    "label_balance": "warning",
    "corrupt_files": "warning",
}
"""Check, then its severity where params are silent; only what breaks yesterday's models and callers is an error."""


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


class Limits(Section):
    """Where a check begins to complain."""

    range_margin: float = Field(0.1, ge=0)
    """How far a column may leave the range that it had before the refresh, as a share of that range's width."""
    missing: float = Field(0.5, ge=0, le=1)
    """Share of the cells of a column that may be empty."""
    duplicates: float = Field(0.1, ge=0, le=1)
    """Share of the records that may repeat an earlier one."""
    near_constant: float = Field(0.01, ge=0, le=1)
    """Share of the images that may show (almost) one value."""
    normal_share: float = Field(0.5, ge=0, le=1)
    """Smallest share of normal records; an autoencoder presumes that most are."""
    class_records: int = Field(10, ge=0)
    """Smallest number of records in a class; fewer tell little about it."""


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

    checks: dict[str, Severity] = Field(default_factory=dict, validate_default=True)
    """Check, then how a fault is taken: error refuses the data, warning reports it, off does not look."""
    limits: Limits = Limits()
    """Where checks begin to complain."""

    @field_validator("ranges")
    @classmethod
    def _check_ranges(cls, ranges: dict[str, list[float]]) -> dict[str, list[float]]:
        for name, (low, high) in ranges.items():
            if low >= high:
                raise ValueError(f"must be [lowest, highest], got [{low:g}, {high:g}] for {name}")
        return ranges

    @field_validator("checks")
    @classmethod
    def _complete(cls, given: dict[str, Severity]) -> dict[str, Severity]:
        for name in given:
            if name not in SEVERITIES:
                raise unknown("prepare.checks", "check", name, SEVERITIES)
        return SEVERITIES | given

    @model_validator(mode="after")
    def _check(self) -> "Params":
        if self.label is not None and self.label == self.group:
            raise ValueError(f"label and group are both '{self.label}', and classes are no groups")
        return self

    @property
    def of_tables(self) -> dict[str, object]:
        """The settings that only a table can have and that are set."""
        found = {name: getattr(self, name) for name in ("label", "group", "columns", "ranges")}
        return {name: value for name, value in found.items() if value}

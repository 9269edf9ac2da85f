"""The section `threshold:`: the promise about false alarms."""

from pydantic import Field

from components.params import Section


class Params(Section):
    """Conformal calibration."""

    alpha: float = Field(0.05, gt=0, lt=1)
    """Largest share of normal records that may raise an alarm."""
    confidence: float | None = Field(None, gt=0, lt=1)
    """Share of calibration sets that keep alpha; null keeps it on average over calibration sets, with fewer records."""
    max_n: int = Field(10_000, ge=1, le=1_000_000)
    """Calibration scores kept; more make the promise firmer and the exported file larger."""

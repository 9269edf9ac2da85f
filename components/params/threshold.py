"""The section `threshold:`: the promise about false alarms."""

from pydantic import Field

from components.params import Section


class Params(Section):
    """Split-conformal calibration."""

    alpha: float = Field(0.05, gt=0, lt=1)
    """Largest share of normal records that may raise an alarm, on average over calibration sets."""
    max_n: int = Field(10_000, ge=1, le=1_000_000)
    """Calibration scores kept; more make the promise firmer and the exported file larger."""

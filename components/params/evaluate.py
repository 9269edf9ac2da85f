"""The section `evaluate:`: how results are reported."""

from pydantic import Field

from components.params import Section


class Params(Section):
    """Intervals and pictures."""

    bootstrap: int = Field(1000, ge=100, le=100_000)
    """Resamples behind each 95 % interval."""
    pictures: int = Field(10, ge=1, le=40)
    """Records shown in the picture of reconstructions and of top anomalies."""

"""The section `drift:`: when the stream of scored records counts as drifted, and what an alarm sets off."""

from pydantic import Field

from components.params import Section


class Limits(Section):
    """An alarm is an effect whose interval lies wholly above its limit; a large batch alone never is one."""

    ks: float = Field(0.1, ge=0, lt=1)
    """Kolmogorov-Smirnov distance between the window's scores and the calibration scores."""
    psi: float = Field(0.25, gt=0)
    """Population stability index over tenths of the calibration scores; 0.1 is usually called small, 0.25 large."""
    alarm_rate: float = Field(2.0, ge=1)
    """Alarms in the window as a multiple of threshold.alpha."""
    energy: float = Field(0.05, ge=0, lt=1)
    """Energy distance of the codes as a share of the largest possible one."""
    units: float = Field(0.2, ge=0, lt=1)
    """Kolmogorov-Smirnov distance of one unit of the code."""
    cells: float = Field(0.05, ge=0, lt=1)
    """Share of a column's cells that are empty beyond the usual, or that cannot be read."""


class Params(Section):
    """Outside the graph: these never make a stage stale."""

    delta: float = Field(0.01, gt=0, lt=1)
    """Bounds the chance that the martingale ever raises a false alarm about one version."""
    memory: int = Field(5_000_000, ge=1000)
    """Scores that the martingale ranks new ones among; then it begins to gather anew."""
    window: int = Field(5000, ge=100, le=1_000_000)
    """Latest records that the other checks look at."""
    confidence: float = Field(0.999, gt=0.5, lt=1)
    """Of the intervals that alarms hang on; the checks are asked every hour of the year."""
    codes: int = Field(500, ge=50, le=2000)
    """Codes on either side of the energy distance; its cost is their square."""
    permutations: int = Field(999, ge=99, le=99_999)
    """Behind each p-value and interval of the energy distance."""
    gallery: int = Field(20, ge=0, le=1000)
    """Extreme errors that are kept."""
    cool_down_hours: float = Field(24.0, ge=0)
    """Shortest time between two retrainings that alarms set off."""
    limits: Limits = Limits()
    """Where effects begin to matter."""

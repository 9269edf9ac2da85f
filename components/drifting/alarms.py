"""The share of records that raise an alarm, against what was promised."""

import numpy as np
from scipy.stats import binomtest

from components.scoring.conformal import Calibration, upper_band
from components.scoring.metrics import Estimate


def alarm_rate(alarms: np.ndarray, confidence: float) -> Estimate:
    """Share of alarms (record,) bool, at least one, with its Clopper-Pearson interval."""
    found = binomtest(int(alarms.sum()), len(alarms))
    return Estimate(found.statistic, *found.proportion_ci(confidence, "exact"))


def largest_expected(calibration: Calibration, factor: float, confidence: float) -> float:
    """What a rate must exceed to be news: `factor` times alpha, and what the luck of the calibration set explains."""
    return max(factor * calibration.alpha, float(upper_band(calibration.n, calibration.m, confidence)))

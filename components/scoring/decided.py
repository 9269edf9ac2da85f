"""What decisions about test records came to, measured alike for models and for simple methods."""

import numpy as np

from components.scoring.conformal import Calibration
from components.scoring.metrics import alarm_tails, exact_rate, ranking

Metrics = dict[str, float]


def decided(scores: np.ndarray, anomalous: np.ndarray, calibration: Calibration, resamples: int, seed: int) -> Metrics:
    """How the promise held on the normal records and, where there are others, how well they are told apart.

    Args:
        scores: of test records (record,), some of them normal.
        anomalous: which are not (record,) bool.
        calibration: what decides.
        resamples: behind the intervals of rankings; rates have exact ones.
        seed: draws them.
    """
    metrics = _false_alarms(scores[~anomalous], calibration)
    if anomalous.any():
        caught = calibration.alarms(scores[anomalous])
        metrics |= {"anomalous_records": len(caught)}
        metrics |= exact_rate(int(caught.sum()), len(caught)).named("detection_rate")
        for name, estimate in ranking(scores, anomalous, resamples, seed).items():
            metrics |= estimate.named(name)
    return metrics


def _false_alarms(scores: np.ndarray, calibration: Calibration) -> Metrics:
    n, alarms = len(scores), int(calibration.alarms(scores).sum())
    rate, tails = exact_rate(alarms, n), alarm_tails(alarms, n, calibration.n, calibration.m)
    return {
        "normal_records": n,
        "alpha": calibration.alpha,
        "threshold": calibration.threshold,
        "upper_95": calibration.upper_95,
        "false_alarms": alarms,
        "false_alarm_rate": rate.value,
        "false_alarm_low": rate.low,
        "false_alarm_high": rate.high,
        "false_alarm_excess_p": tails[0],
        "false_alarm_deficit_p": tails[1],
    }

"""Many records at once: which of a batch to report, so that few of the reports are false.

Papers: Benjamini and Hochberg, "Controlling the False Discovery Rate", Journal of the Royal Statistical Society B 57,
1995; that it holds for conformal p-values, which share their calibration set: Bates, Candès, Lei, Romano and Sesia,
"Testing for outliers with conformal p-values", Annals of Statistics 51, 2023.

A p-value of n calibration scores is one of 1 / (n + 1), 2 / (n + 1), … 1. So a batch of any size is judged by n + 1
counts, and by integers: no rounding moves a decision.
"""

import numpy as np

from components.scoring.conformal import as_ratio


def discoveries(p_values: np.ndarray, q: float) -> np.ndarray:
    """The records of a batch to report: of the reports, on average at most the share q are of normal records.

    No p-value lies below 1 / (n + 1), so with n calibration records a lone anomaly among k records cannot be reported
    where n + 1 < k / q. Shapes: (record,) -> (record,) bool.

    Args:
        p_values: marginal ones, in 0..1; none may be missing.
        q: bound of the false discovery rate.
    """
    from scipy.stats import false_discovery_control

    return false_discovery_control(p_values, method="bh") <= q


def last_discovery(counts: np.ndarray, q: float) -> int:
    """The same for a batch that is only counted: report the p-values up to this many (n + 1)ths; 0 reports none.

    Args:
        counts: records whose p-value is k / (n + 1), for k = 1 … n + 1: (n + 1,).
        q: bound of the false discovery rate.
    """
    numerator, denominator = as_ratio(q)
    levels, reached, records = len(counts), np.cumsum(counts).tolist(), int(np.sum(counts))
    # k / (n + 1) <= q #{p <= k / (n + 1)} / records, for the largest k; Python's integers do not overflow
    kept = (k for k in range(levels, 0, -1) if k * records * denominator <= numerator * reached[k - 1] * levels)
    return next(kept, 0) if records else 0


def fewest_discoveries(records: int, n: int, q: float) -> int:
    """How many of a batch must reach the smallest p-value, 1 / (n + 1), before any is reported.

    As a share of the batch it is 1 / (q (n + 1)): rarer anomalies cannot be found with n calibration records.
    """
    numerator, denominator = as_ratio(q)
    return -(-records * denominator // (numerator * (n + 1)))

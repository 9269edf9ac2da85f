"""Many records at once: which of a batch to report, so that few of the reports are false.

Papers: Benjamini and Hochberg, "Controlling the False Discovery Rate", Journal of the Royal Statistical Society B 57,
1995; that it holds for conformal p-values, which share their calibration set: Bates, Candès, Lei, Romano and Sesia,
"Testing for outliers with conformal p-values", Annals of Statistics 51, 2023.
"""

import numpy as np


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

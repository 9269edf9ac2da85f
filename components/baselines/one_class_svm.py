"""How far a record lies outside of the region that holds most of the others: a one-class support vector machine.

Papers: Schölkopf et al., "Estimating the Support of a High-Dimensional Distribution", Neural Computation 13, 2001;
Williams and Seeger, "Using the Nyström Method to Speed Up Kernel Machines", NIPS 2000.
Departures: beyond `exact` records the kernel is approximated and the machine fitted by stochastic gradient descent.
Limits: sensitive to gamma; far from all records the kernel is zero, and records there tie.
"""

from typing import Any

import numpy as np
from pydantic import Field

from components.baselines import BaselineEntry, BaselineParams, Fitted


class Params(BaselineParams):
    """The region, and what it may cost."""

    nu: float = Field(0.1, gt=0, le=1)
    """Share of the training records that may lie outside."""
    gamma: float | None = Field(None, gt=0)
    """Width of the kernel exp(-gamma |a - b|^2); null is 1 / (values of a record * their variance)."""
    exact: int = Field(2000, ge=2, le=100_000)
    """Training records up to which the fit is exact; its time grows with their square."""
    landmarks: int = Field(500, ge=2, le=20_000)
    """Beyond: records by which the kernel is approximated."""


class OneClassSVM(Fitted):
    """scikit-learn's OneClassSVM, or its Nystroem before its SGDOneClassSVM."""

    def __init__(self, x: np.ndarray, params: Params, seed: int) -> None:
        gamma = params.gamma or 1 / max(x.shape[1] * x.var(), 1e-12)
        self.machine = _exact(params.nu, gamma) if len(x) <= params.exact else _approximate(params, gamma, len(x), seed)
        self.machine.fit(x)
        self.meaning = f"one-class SVM{'' if len(x) <= params.exact else ', approximated'}"

    def score(self, x: np.ndarray) -> np.ndarray:
        """See `Fitted`."""
        return -self.machine.decision_function(x)


def _exact(nu: float, gamma: float) -> Any:
    from sklearn.svm import OneClassSVM as Machine

    return Machine(nu=nu, gamma=gamma)


def _approximate(params: Params, gamma: float, records: int, seed: int) -> Any:
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import SGDOneClassSVM
    from sklearn.pipeline import make_pipeline

    kernel = Nystroem(gamma=gamma, n_components=min(params.landmarks, records), random_state=seed)
    return make_pipeline(kernel, SGDOneClassSVM(nu=params.nu, random_state=seed))


def _fit(params: Params, x: np.ndarray, seed: int) -> OneClassSVM:
    return OneClassSVM(x, params, seed)


BASELINE = BaselineEntry(_fit, Params, "how far a record lies outside of the region that holds most others")

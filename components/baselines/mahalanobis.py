"""Distance from the mean record in units of how records spread: a Gaussian of the records themselves.

Papers: Mahalanobis, "On the Generalised Distance in Statistics", 1936; Ledoit and Wolf, "A Well-Conditioned Estimator
for Large-Dimensional Covariance Matrices", Journal of Multivariate Analysis 88, 2004 (full); Tipping and Bishop,
"Probabilistic Principal Component Analysis", Journal of the Royal Statistical Society B 61, 1999 (low rank).
Departures: squared, and over the number of values.
Limits: one centre; a full covariance has the square of a record's values, so wide records need a low rank.
"""

from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from components.baselines import BaselineEntry, BaselineParams, Fitted, is_share_or_count, principal

_WIDEST = 4096  # values of a record; the covariance of more takes over 128 MiB, its inversion minutes


class Params(BaselineParams):
    """Shape of the Gaussian."""

    components: Annotated[float, Field(gt=0), AfterValidator(is_share_or_count)] | None = None
    """Directions with a variance of their own, or the share of the variance that they explain; all others have one in
    common. null: a full covariance, shrunk towards a sphere as far as Ledoit and Wolf's formula says."""


class Full(Fitted):
    """scikit-learn's LedoitWolf."""

    meaning = "Mahalanobis distance, full covariance"

    def __init__(self, x: np.ndarray) -> None:
        from sklearn.covariance import LedoitWolf

        self.gaussian = LedoitWolf().fit(x)

    def score(self, x: np.ndarray) -> np.ndarray:
        """See `Fitted`."""
        return self.gaussian.mahalanobis(x) / x.shape[1]


class LowRank(Fitted):
    """scikit-learn's PCA, whose left-over variance is that of every other direction."""

    def __init__(self, x: np.ndarray, components: float, seed: int) -> None:
        self.pca = principal(x, components, seed)
        if not self.pca.noise_variance_ > 0:
            raise ValueError(f"components must leave some of the variance, {self.pca.n_components_} explain all of it")
        self.meaning = f"Mahalanobis distance, {self.pca.n_components_} directions with a variance of their own"

    def score(self, x: np.ndarray) -> np.ndarray:
        """See `Fitted`."""
        code = self.pca.transform(x)
        along = np.square(code) @ (1 / self.pca.explained_variance_)
        # what a distance is made of without the matrix of all values, which wide records would not have room for
        across = np.square(x - self.pca.inverse_transform(code)).sum(1) / self.pca.noise_variance_
        return (along + across) / x.shape[1]


def _fit(params: Params, x: np.ndarray, seed: int) -> Fitted:
    if params.components is not None:
        return LowRank(x, params.components, seed)
    if x.shape[1] > _WIDEST:
        raise ValueError(f"components must be named: a full covariance has room for {_WIDEST} values, not {x.shape[1]}")
    return Full(x)


BASELINE = BaselineEntry(_fit, Params, "distance from the mean record in units of how records spread")

"""What principal components cannot rebuild: the mean squared error of the reconstruction.

Paper: Jackson and Mudholkar, "Control Procedures for Residuals Associated with Principal Component Analysis",
Technometrics 21, 1979.
Departures: the mean over a record's values, so that it is the error that models are compared by.
Limits: a record that is strange along the components is not seen (see mahalanobis).
"""

from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from components.baselines import BaselineEntry, BaselineParams, Fitted, is_share_or_count, principal


class Params(BaselineParams):
    """Size of the code."""

    components: Annotated[float, Field(gt=0), AfterValidator(is_share_or_count)] = 0.9
    """How many, or the share of the variance that they explain."""


class PCAError(Fitted):
    """scikit-learn's PCA, used both ways."""

    def __init__(self, x: np.ndarray, components: float, seed: int) -> None:
        self.pca = principal(x, components, seed)
        self.meaning = f"squared error of {self.pca.n_components_} principal components"

    def score(self, x: np.ndarray) -> np.ndarray:
        """See `Fitted`."""
        return np.square(self.reconstruct(x) - x).mean(1)

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """See `Fitted`."""
        return self.pca.inverse_transform(self.pca.transform(x))


def _fit(params: Params, x: np.ndarray, seed: int) -> PCAError:
    return PCAError(x, params.components, seed)


BASELINE = BaselineEntry(_fit, Params, "squared error of the reconstruction by principal components")

"""How few random cuts separate a record from the others.

Paper: Liu, Ting and Zhou, "Isolation Forest", ICDM 2008.
Limits: cuts one value at a time, so that what is strange only in combination is seen late; depends on the seed.
"""

import numpy as np
from pydantic import Field

from components.baselines import BaselineEntry, BaselineParams, Fitted


class Params(BaselineParams):
    """Size of the forest."""

    trees: int = Field(200, ge=1, le=10_000)
    """More make the score steadier, and its time grows with them."""
    sample: int = Field(256, ge=2, le=100_000)
    """Training records that each tree sees at most."""


class IsolationForest(Fitted):
    """scikit-learn's; its score is 2 ^ (-mean depth / the depth that is usual)."""

    meaning = "isolation by random cuts"

    def __init__(self, x: np.ndarray, params: Params, seed: int) -> None:
        from sklearn.ensemble import IsolationForest as Forest

        sample = min(params.sample, len(x))
        self.forest = Forest(n_estimators=params.trees, max_samples=sample, random_state=seed).fit(x)

    def score(self, x: np.ndarray) -> np.ndarray:
        """See `Fitted`."""
        return -self.forest.score_samples(x)


def _fit(params: Params, x: np.ndarray, seed: int) -> IsolationForest:
    return IsolationForest(x, params, seed)


BASELINE = BaselineEntry(_fit, Params, "how few random cuts separate a record from the others")

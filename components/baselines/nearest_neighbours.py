"""Distance to the nearest training records, as they are.

Paper: Ramaswamy, Rastogi and Shim, "Efficient Algorithms for Mining Outliers from Large Data Sets", SIGMOD 2000.
Departures: the mean over the k nearest, not the k-th alone.
Limits: keeps all records it was fitted to, and asks each of them about each new one.
"""

import numpy as np
from pydantic import Field

from components.baselines import BaselineEntry, BaselineParams, Fitted


class Params(BaselineParams):
    """How many are asked."""

    k: int = Field(5, ge=1, le=1000)
    """Neighbours whose distances are averaged."""


class Neighbours(Fitted):
    """scikit-learn's NearestNeighbors."""

    def __init__(self, x: np.ndarray, k: int) -> None:
        from sklearn.neighbors import NearestNeighbors

        if k > len(x):
            raise ValueError(f"k must be at most {len(x)}, the number of training records, got {k}")
        self.neighbours = NearestNeighbors(n_neighbors=k).fit(x)
        self.meaning = f"distance to the {k} nearest training records"

    def score(self, x: np.ndarray) -> np.ndarray:
        """See `Fitted`."""
        return self.neighbours.kneighbors(x)[0].mean(1)


def _fit(params: Params, x: np.ndarray, seed: int) -> Neighbours:
    del seed
    return Neighbours(x, params.k)


BASELINE = BaselineEntry(_fit, Params, "distance to the nearest training records")

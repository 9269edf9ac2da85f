"""Distance of the code from the middle of all codes, in units of how codes spread.

Paper: Mahalanobis, "On the Generalised Distance in Statistics", 1936; on a network's features Lee et al., NeurIPS 2018.
Departures: squared and per dimension; one centre, because classes are not known.
Limits: codes in several clusters have a middle where no record lies (see neighbours).
Contributions: the score spread over the difference between the reconstruction and that of the middle code.
"""

import torch
from pydantic import Field
from torch import Tensor

from components.scores import Decode, Score, ScoreEntry, ScoreParams, Seen, State, spread


class Params(ScoreParams):
    """The spread."""

    floor: float = Field(0.01, gt=0, le=1)
    """Least variance in any direction, as a share of the mean one."""


class Mahalanobis(Score):
    """Squared Mahalanobis distance over the code size."""

    meaning = "squared Mahalanobis distance of the code"

    def forward(self, x: Tensor, x_hat: Tensor, code: Tensor) -> Tensor:
        """See `Score`."""
        del x, x_hat
        return ((code - self.mean) @ self.whitening).square().mean(1)

    def contributions(self, x: Tensor, x_hat: Tensor, code: Tensor, decode: Decode) -> Tensor:
        """See `Score`."""
        return spread(self(x, x_hat, code), (x_hat - decode(self.mean[None])).square())


def _fit(params: Params, train: Seen, validation: Seen, seed: int) -> State:
    del validation, seed
    code = train.code.double()
    mean = code.mean(0)
    covariance = (code - mean).T @ (code - mean) / len(code)
    floor = params.floor * covariance.diagonal().mean().clamp(min=1e-12)
    # from Cholesky: triangular and unique, so that files repeat
    lower = torch.linalg.cholesky(covariance + floor * torch.eye(len(mean), dtype=torch.float64))
    whitening = torch.linalg.solve_triangular(lower, torch.eye(len(mean), dtype=torch.float64), upper=False).T
    return {"mean": mean.float(), "whitening": whitening.contiguous().float()}


SCORE = ScoreEntry(Mahalanobis, Params, "Mahalanobis distance of the code", _fit)

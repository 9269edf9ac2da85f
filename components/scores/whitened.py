"""Error of the reconstruction in units of what is usual: residuals whitened by their covariance on validation.

Formula: r' C^-1 r with C = V diag(variance) V' + floor (diagonal: V is the identity), the squared Mahalanobis distance
of the residual r (Mahalanobis, 1936); with a low rank as in probabilistic PCA (Tipping and Bishop, 1999).
Limits: a value that never varies in validation is weighed by the floor alone.
"""

import torch
from pydantic import Field
from torch import Tensor

from components.scores import Decode, Score, ScoreEntry, ScoreParams, Seen, State


class Params(ScoreParams):
    """The covariance."""

    rank: int | None = Field(None, ge=1)
    """Directions of the residual with a variance of their own, all others share one; null gives each value of the
    record its own variance instead."""
    floor: float = Field(0.1, gt=0, le=1)
    """Least variance, as a share of the mean one; it keeps values that hardly vary from deciding alone."""


class Whitened(Score):
    """Mean over the record's values of the squared, whitened residual."""

    meaning = "mean squared residual, whitened"

    def forward(self, x: Tensor, x_hat: Tensor, code: Tensor) -> Tensor:
        """See `Score`."""
        del code
        return self._whiten(x, x_hat).square().mean(1)

    def contributions(self, x: Tensor, x_hat: Tensor, code: Tensor, decode: Decode) -> Tensor:
        """See `Score`."""
        del code, decode
        return (self._whiten(x, x_hat).square() / self.item.size).reshape(x.shape)

    def _whiten(self, x: Tensor, x_hat: Tensor) -> Tensor:
        residual = (x_hat - x).flatten(1) - self.mean
        if self.params.rank is None:
            return residual * self.precision
        # C^-1/2: the leading directions by their own precision, the rest by the shared one
        return residual * self.rest + ((residual @ self.directions) * (self.precision - self.rest)) @ self.directions.T


def _fit(params: Params, train: Seen, validation: Seen, seed: int) -> State:
    del train, seed
    residual = (validation.x_hat - validation.x).flatten(1).double()
    mean, records = residual.mean(0), len(residual)
    residual = residual - mean
    floor = params.floor * residual.square().mean().clamp(min=1e-12)
    state = {"mean": mean}
    if params.rank is None:
        state["precision"] = (residual.square().mean(0) + floor).rsqrt()
    else:
        if params.rank >= min(residual.shape):
            raise ValueError(f"rank {params.rank} needs more validation records and values ({min(residual.shape)})")
        _, values, directions = torch.linalg.svd(residual, full_matrices=False)
        variances, kept = values.square() / records, params.rank
        rest = variances[kept:].sum() / (residual.shape[1] - kept)
        state |= {
            "directions": _signed(directions[:kept]).T.contiguous(),
            "precision": (variances[:kept] + floor).rsqrt(),
            "rest": (rest + floor).rsqrt(),
        }
    return {name: value.float() for name, value in state.items()}


def _signed(directions: Tensor) -> Tensor:
    # a direction has no sign of its own: let its largest entry be positive, so that files repeat
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return directions * largest.sign()


SCORE = ScoreEntry(Whitened, Params, "residual whitened by its covariance on validation", _fit)

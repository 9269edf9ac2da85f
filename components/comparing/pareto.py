"""What error costs: code size and parameters, and the candidates that no other beats on both."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.comparing.candidates import Candidate


@dataclass(frozen=True)
class Point:
    """A candidate among the others, and PCA at its code size."""

    variant: str
    latent_dim: int
    parameters: int
    mse: float
    """On normal test records."""
    best_for_code: bool
    """No candidate has both a smaller error and a code as small, or an error as small and a smaller code."""
    best_for_parameters: bool
    """The same with parameters for the code."""
    pca_parameters: int
    pca_mse: float


def points(candidates: Sequence[Candidate]) -> list[Point]:
    """One point per candidate, in the given order."""
    errors = [candidate.metrics["mse"] for candidate in candidates]
    codes, sizes = ([candidate.metrics[name] for candidate in candidates] for name in ("latent_dim", "parameters"))
    best = zip(frontier(codes, errors), frontier(sizes, errors), strict=True)
    return [_point(candidate, *flags) for candidate, flags in zip(candidates, best, strict=True)]


def frontier(costs: Sequence[float], errors: Sequence[float]) -> list[bool]:
    """Which are on the Pareto frontier: no other is at least as good in both respects and better in one."""
    cost, error = np.asarray(costs, dtype=float), np.asarray(errors, dtype=float)
    as_good = (cost[:, None] <= cost) & (error[:, None] <= error)  # (other, one)
    better = (cost[:, None] < cost) | (error[:, None] < error)
    return [bool(beaten) for beaten in ~(as_good & better).any(0)]


def _point(candidate: Candidate, best_for_code: bool, best_for_parameters: bool) -> Point:
    metrics = candidate.metrics
    return Point(
        variant=candidate.name,
        latent_dim=metrics["latent_dim"],
        parameters=metrics["parameters"],
        mse=metrics["mse"],
        best_for_code=best_for_code,
        best_for_parameters=best_for_parameters,
        # components and a mean
        pca_parameters=(metrics["latent_dim"] + 1) * math.prod(candidate.config["item"]["shape"]),
        pca_mse=metrics["pca_mse"],
    )

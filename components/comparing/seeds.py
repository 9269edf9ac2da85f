"""Luck beside merit: how far a model's error moves with the seed, and how far models lie apart. Validation only."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.comparing.candidates import Candidate
from components.runtime.outputs import read_json


@dataclass(frozen=True)
class SeedRun:
    """One training of a variant."""

    variant: str
    seed: int
    validation_mse: float
    validation_mse_ratio_to_pca: float
    """PCA has no seed, so this is the error in other units, comparable over code sizes."""


@dataclass(frozen=True)
class Spread:
    """The runs of one variant."""

    variant: str
    mean: float
    """Of the error against PCA."""
    deviation: float
    """Its standard deviation over seeds, of a sample."""
    lowest: float
    highest: float


@dataclass(frozen=True)
class Luck:
    """All runs, and what they say."""

    runs: list[SeedRun]
    spreads: list[Spread]
    """One for each variant; empty where there is one seed only."""
    between_seeds: float
    """Standard deviation of a run around its variant's mean, pooled over the variants that a seed can move."""
    between_models: float
    """Standard deviation of the variants' means."""
    winners: dict[int, str]
    """For each seed the variant with the smallest error against PCA."""


def load_luck(candidates: Sequence[Candidate], artifacts: Path) -> Luck:
    """Read every variant's seeds.json.

    Raises:
        UserError: one is missing or damaged.
    """
    runs = [run for candidate in candidates for run in _runs(candidate, artifacts / "seeds")]
    ratios = {candidate.name: [] for candidate in candidates}
    for run in runs:
        ratios[run.variant].append(run.validation_mse_ratio_to_pca)
    table = np.array(list(ratios.values()))  # (variant, seed)
    if table.shape[1] == 1:
        return Luck(runs, [], 0.0, 0.0, {})
    spreads = [_spread(name, of) for name, of in zip(ratios, table, strict=True)]
    variances = table.var(1, ddof=1)
    moved = variances[variances > 0]
    return Luck(
        runs,
        spreads,
        between_seeds=float(np.sqrt(moved.mean())) if len(moved) else 0.0,
        between_models=float(table.mean(1).std(ddof=1)) if len(table) > 1 else 0.0,
        winners={run.seed: candidates[best].name for run, best in zip(runs, table.argmin(0), strict=False)},
    )


def _runs(candidate: Candidate, folder: Path) -> list[SeedRun]:
    listed: list[dict[str, Any]] = read_json(folder / candidate.name / "seeds.json", f"seeds@{candidate.name}")
    metrics = candidate.metrics
    pca = metrics["validation_mse"] / metrics["validation_mse_ratio_to_pca"]
    return [SeedRun(candidate.name, run["seed"], run["validation_mse"], run["validation_mse"] / pca) for run in listed]


def _spread(name: str, ratios: np.ndarray) -> Spread:
    numbers = (ratios.mean(), ratios.std(ddof=1), ratios.min(), ratios.max())
    return Spread(name, *map(float, numbers))

"""The section `compare:`: who wins, and what a winner must hold."""

from typing import Literal

from pydantic import Field

from components.params import Section


class Gates(Section):
    """Conditions for promotion, beside those that always hold (beats PCA, false-alarm rate, export parity)."""

    min_auroc: float | None = Field(None, ge=0, le=1)
    """Smallest AUROC on test; null asks for none."""


class Params(Section):
    """The rule, declared before anyone looks at test."""

    winner: Literal["mse_ratio_to_pca", "auroc"] = "mse_ratio_to_pca"
    """mse_ratio_to_pca: smallest on validation; auroc: largest on selection (needs labels)."""
    seeds: int = Field(1, ge=1, le=20)
    """Trainings of each variant, to tell luck from merit; the first is `train`'s own, with the seed of params.yaml."""
    gates: Gates = Gates()
    """Conditions for promotion."""

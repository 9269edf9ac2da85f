"""What train and validation say about a fit: all that later stages may know of these two splits."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from components.data.splits import load_records
from components.models import Autoencoder
from components.scoring.metrics import mean_ratio
from components.scoring.score import score_records

RESAMPLES = 1000


def fit_report(
    network: Autoencoder, untrained: Autoencoder | None, scale: nn.Module, validation: np.ndarray, seed: int
) -> dict[str, float | None]:
    """The content of fit.json.

    Args:
        network: the trained model; untrained: the network before its first step, None for a closed form.
        scale: to the units of errors.
        validation: squared errors of the validation records (2, record), the network's and those of PCA at its code
            size.
        seed: draws resamples.
    """

    def errors(model: Autoencoder, split: str) -> np.ndarray:
        return score_records(model, scale, load_records(split)).astype(np.float64)

    ours, theirs = validation.astype(np.float64)
    seen = errors(network, "train")
    ratio = mean_ratio(ours, theirs, RESAMPLES, seed)
    return {
        "validation_mse": float(ours.mean()),
        "validation_pca_mse": float(theirs.mean()),
        "validation_mse_ratio_to_pca": ratio.value,
        "validation_mse_ratio_to_pca_low": ratio.low,
        "validation_mse_ratio_to_pca_high": ratio.high,
        # the usual rule, kept for contrast: a percentile of errors that training has already made small
        "training_error_p95": float(np.percentile(seen, 95)),
        "training_mse": float(seen.mean()),
        "weight_change": untrained and _distance(list(network.parameters()), list(untrained.parameters())),
        "untrained_validation_mse": untrained and float(errors(untrained, "validation").mean()),
    }


@torch.no_grad()
def _distance(weights: Sequence[Tensor], initial: Sequence[Tensor]) -> float:
    """Distance of all weights from where they started, relative to their norm there."""
    moved = sum(float((now - before).square().sum()) for now, before in zip(weights, initial, strict=True))
    return (moved / sum(float(before.square().sum()) for before in initial)) ** 0.5

"""The anomaly score of a record is the mean squared error of its reconstruction, in scaled units.

One definition for every model, PCA and every exported file: the training loss (BCE, say) ranks records by their
brightness as much as by their strangeness, and models trained on different losses could not be compared.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from components.models import Autoencoder


def reconstruction_error(x: Tensor, x_hat: Tensor) -> Tensor:
    """Mean over a record's values of the squared difference. Shapes: (batch, *item) twice -> (batch,)."""
    return (x_hat - x).square().flatten(1).mean(1)


def contributions(x: Tensor, x_hat: Tensor, column_of: Tensor, columns: int) -> Tensor:
    """What each column of a table adds to the error above. Shapes: (batch, feature) twice -> (batch, column).

    Args:
        column_of: number of the column that each feature belongs to (feature,) int64.
        columns: how many there are.
    """
    errors = (x_hat - x).square() / x.shape[1]
    # added where they belong, not multiplied by zeros and ones: one overflow must not spoil every column
    empty = errors.new_zeros(1, columns).expand(errors.shape[0], columns)
    return empty.scatter_add(1, column_of.expand_as(errors), errors)


@dataclass(frozen=True)
class Scored:
    """What a model says about records."""

    scores: np.ndarray
    """(record,) float32, higher is stranger."""
    codes: np.ndarray
    """(record, code) float32."""


@dataclass(frozen=True)
class Batch:
    """Consecutive records in scaled units, with what the model makes of them."""

    x: Tensor
    """(batch, *item)"""
    x_hat: Tensor
    """(batch, *item)"""
    code: Tensor
    """(batch, code)"""


@torch.no_grad()
def reconstruct(model: Autoencoder, scale: nn.Module, records: np.ndarray, batch_size: int = 1024) -> Iterator[Batch]:
    """Run raw records (record, *item) through scaling and model, on the CPU in float32 as the exported file does.

    Yields at least one batch: no records give one empty batch, so that its shapes are known.
    """
    model.eval()
    for start in range(0, max(len(records), 1), batch_size):
        # a copy: torch cannot hold the read-only memory of a mapped file
        x = scale(torch.from_numpy(np.array(records[start : start + batch_size])))
        x_hat, code = model(x)
        yield Batch(x, x_hat, code)


def score_records(model: Autoencoder, scale: nn.Module, records: np.ndarray, batch_size: int = 1024) -> Scored:
    """Score raw records (record, *item)."""
    scores, codes = [], []
    for batch in reconstruct(model, scale, records, batch_size):
        scores.append(reconstruction_error(batch.x, batch.x_hat).numpy())
        codes.append(batch.code.numpy())
    return Scored(np.concatenate(scores), np.concatenate(codes))

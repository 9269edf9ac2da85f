"""The anomaly score of a record is the mean squared error of its reconstruction, in scaled units.

One definition for every model, PCA and every exported file: the training loss (BCE, say) ranks records by their
brightness as much as by their strangeness, and models trained on different losses could not be compared.

Records are read batch by batch from where they are mapped: a split need not fit in memory, only its scores do.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from components.data.batches import raw_batches
from components.models import Autoencoder


def reconstruction_error(x: Tensor, x_hat: Tensor) -> Tensor:
    """Mean over a record's values of the squared difference. Shapes: (batch, *item) twice -> (batch,)."""
    return (x_hat - x).square().flatten(1).mean(1)


def by_column(contributions: Tensor, column_of: Tensor, columns: int) -> Tensor:
    """What each column of a table adds to a score. Shapes: (batch, feature) -> (batch, column).

    Args:
        column_of: number of the column that each feature belongs to (feature,) int64.
        columns: how many there are.
    """
    # added where they belong, not multiplied by zeros and ones: one overflow must not spoil every column
    empty = contributions.new_zeros(1, columns).expand(contributions.shape[0], columns)
    return empty.scatter_add(1, column_of.expand_as(contributions), contributions)


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
def reconstruct(
    model: Autoencoder, scale: nn.Module, records: np.ndarray, rows: np.ndarray | None = None
) -> Iterator[Batch]:
    """Run raw records through scaling and model, on the CPU in float32 as the exported file does; see `raw_batches`."""
    model.eval()
    for raw in raw_batches(records, rows):
        x = scale(torch.from_numpy(raw))
        x_hat, code = model(x)
        yield Batch(x, x_hat, code)


def score_records(
    model: Autoencoder, scale: nn.Module, records: np.ndarray, rows: np.ndarray | None = None
) -> np.ndarray:
    """Scores of raw records (record, *item), of all or of the chosen rows: float32, higher is stranger."""
    scores = np.empty(len(records) if rows is None else len(rows), np.float32)
    done = 0
    for batch in reconstruct(model, scale, records, rows):
        scores[done : done + len(batch.x)] = reconstruction_error(batch.x, batch.x_hat).numpy()
        done += len(batch.x)
    return scores

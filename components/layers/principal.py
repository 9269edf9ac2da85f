"""Principal components of records that come in batches."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Principal:
    """Where records lie and in which directions they vary, in float64 on the CPU."""

    mean: Tensor
    """(value,)"""
    components: Tensor
    """(component, value), orthonormal, the direction of the largest variance first."""
    deviations: Tensor
    """(component,) standard deviation along each, as of a sample: divided by the number of records less one."""


@torch.no_grad()
def principal(batches: Iterable[Tensor], count: int) -> Principal:
    """The `count` leading components of scaled records, given as batches (batch, *item) that are read once.

    Raises:
        ValueError: no more records than components.
    """
    records, total, products = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for batch in batches:
        rows = batch.flatten(1).double()
        records, total = records + len(rows), total + rows.sum(0)
        products = products + rows.T @ rows
    if records <= count:
        raise ValueError(f"PCA with {count} components needs more than {records} training records")
    mean = total / records
    values, vectors = torch.linalg.eigh((products / records - torch.outer(mean, mean)).cpu())
    leading = vectors.T.flip(0)[:count]
    # eigenvectors have no sign of their own: let the largest entry be positive, so that results repeat
    largest = leading.gather(1, leading.abs().argmax(1, keepdim=True))
    variances = values.flip(0)[:count].clamp(min=0) * (records / (records - 1))
    return Principal(mean.cpu(), leading * largest.sign(), variances.sqrt())

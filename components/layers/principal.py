"""Principal components of records that come in batches, in the least passes that their width allows.

Paper: Halko, Martinsson and Tropp, "Finding Structure with Randomness", SIAM Review 53, 2011.
Records of at most `WIDEST_COVARIANCE` values have their covariance summed over batches in float64 and decomposed once,
in one pass. The covariance of wider ones would not fit in memory: a random subspace is multiplied by it `ITERATIONS`
times, each in a pass over the batches, and the components are found inside of that subspace.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

WIDEST_COVARIANCE = 4096
"""Values of a record at most; the covariance then takes 128 MiB, and its decomposition a minute."""
ITERATIONS = 5
"""Multiplications by the covariance; each shrinks the share of a wrong direction by the ratio of the variances."""
OVERSAMPLING = 16
"""Dimensions of the subspace beyond twice the components asked for."""


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
def principal(batches: Callable[[], Iterable[Tensor]], count: int) -> Principal:
    """The `count` leading components of scaled records.

    Args:
        batches: each call is one pass over the records, in batches (batch, *item).
        count: components.

    Raises:
        ValueError: no more records than components.
    """
    records, total, products = 0, torch.zeros((), dtype=torch.float64), None
    for batch in batches():
        rows = batch.flatten(1).double()
        records, total = records + len(rows), total + rows.sum(0)
        if rows.shape[1] <= WIDEST_COVARIANCE:
            product = rows.T @ rows
            products = product if products is None else products + product
    if records <= count:
        raise ValueError(f"PCA with {count} components needs more than {records} training records")
    mean = total / records
    if products is not None:
        variances, vectors = torch.linalg.eigh((products / records - torch.outer(mean, mean)).cpu())
    else:
        variances, vectors = _iterate(batches, mean, records, count)
    leading = vectors.T.flip(0)[:count]
    # eigenvectors have no sign of their own: let the largest entry be positive, so that results repeat
    largest = leading.gather(1, leading.abs().argmax(1, keepdim=True))
    of_sample = variances.flip(0)[:count].clamp(min=0) * (records / (records - 1))
    return Principal(mean.cpu(), leading * largest.sign(), of_sample.sqrt())


def _iterate(batches: Callable[[], Iterable[Tensor]], mean: Tensor, records: int, count: int) -> tuple[Tensor, Tensor]:
    """Variances (component,) and directions (value, component) inside of a subspace, the leading ones last."""
    generator = torch.Generator().manual_seed(0)  # PCA has no seed: it is one model, whatever the variant
    width = min(2 * count + OVERSAMPLING, len(mean))
    centre = mean.float()
    product = torch.randn(len(mean), width, generator=generator, dtype=torch.float64).to(mean.device)
    for _ in range(ITERATIONS):
        basis = torch.linalg.qr(product)[0]
        product = torch.zeros_like(basis)  # covariance @ basis, times the number of records
        for batch in batches():
            rows = batch.flatten(1) - centre
            product += (rows.T @ (rows @ basis.float())).double()
    # the covariance as the subspace sees it; symmetric but for rounding
    variances, within = torch.linalg.eigh(basis.T @ product / records)
    return variances.cpu(), (basis @ within).cpu()

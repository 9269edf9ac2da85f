"""Principal component analysis: the best linear autoencoder, in closed form, and the yardstick for all others.

Paper: Pearson 1901; Baldi and Hornik, "Neural Networks and Principal Component Analysis", Neural Networks 2, 1989.
Departures: the covariance is summed over batches in float64 and decomposed once, so one pass over the records suffices.
Limits: linear; the covariance has size² entries, which is too many beyond some 10,000 values per record.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from components.data.item import Item
from components.models import Autoencoder, Loss, ModelEntry, ModelParams


class Params(ModelParams):
    """PCA has a code size and nothing else."""


class PCA(Autoencoder):
    """Projection on the leading eigenvectors of the covariance, computed as in scikit-learn's full solver.

    Shapes: x (batch, *item), code (batch, latent_dim). The reconstruction is linear whatever loss is asked for.
    """

    def __init__(self, item: Item, params: ModelParams, _: Loss = "mse") -> None:
        super().__init__(item, "mse")
        self.register_buffer("mean", torch.zeros(item.size))
        self.register_buffer("components", torch.zeros(params.latent_dim, item.size))

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Fit to scaled records, given as batches (batch, *item); batches are read once.

        Raises:
            ValueError: no more records than components.
        """
        count, total, products = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for batch in batches:
            rows = batch.flatten(1).double()
            count, total = count + len(rows), total + rows.sum(0)
            products = products + rows.T @ rows
        if count <= len(self.components):
            raise ValueError(f"PCA with {len(self.components)} components needs more than {count} training records")
        mean = total / count
        _, vectors = torch.linalg.eigh(products / count - torch.outer(mean, mean))
        leading = vectors.T.flip(0)[: len(self.components)]
        # eigenvectors have no sign of their own: let the largest entry be positive, so that results repeat
        largest = leading.gather(1, leading.abs().argmax(1, keepdim=True))
        self.mean.copy_(mean)
        self.components.copy_(leading * largest.sign())

    def encode(self, x: Tensor) -> Tensor:
        """The code (batch, latent_dim)."""
        return (x.flatten(1) - self.mean) @ self.components.T

    def decode_logits(self, code: Tensor) -> Tensor:
        """The reconstruction (batch, *item)."""
        return torch.unflatten(code @ self.components + self.mean, 1, self.item.shape)


MODEL = ModelEntry(PCA, Params, "the best linear code, in closed form", closed_form=True)

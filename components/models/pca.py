"""Principal component analysis: the best linear autoencoder, in closed form, and the yardstick for all others.

Paper: Pearson 1901; Baldi and Hornik, "Neural Networks and Principal Component Analysis", Neural Networks 2, 1989;
Halko, Martinsson and Tropp, "Finding Structure with Randomness", SIAM Review 53, 2011.
Departures: records of at most `WIDEST_COVARIANCE` values have their covariance summed over batches in float64 and
decomposed once, in one pass. The covariance of wider ones would not fit in memory: a random subspace is multiplied by
it `ITERATIONS` times, each in a pass over the batches, and the components are found inside of that subspace.
Limits: linear; where the variances of wide records around the last component are almost alike, components are mixed,
which costs next to nothing in squared error.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from components.data.item import Item
from components.models import Autoencoder, Loss, ModelEntry, ModelParams

WIDEST_COVARIANCE = 4096
"""Values of a record at most; the covariance then takes 128 MiB, and its decomposition a minute."""
ITERATIONS = 5
"""Multiplications by the covariance; each shrinks the share of a wrong direction by the ratio of the variances."""
OVERSAMPLING = 16
"""Dimensions of the subspace beyond twice the components asked for."""


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
        """Fit to scaled records, given as batches (batch, *item) that can be read again and again (a list, say).

        Raises:
            ValueError: no more records than components.
        """
        if self.item.size <= WIDEST_COVARIANCE:
            mean, vectors = self._decompose(batches)
        else:
            mean, vectors = self._iterate(batches)
        leading = vectors.T.flip(0)[: len(self.components)]
        # eigenvectors have no sign of their own: let the largest entry be positive, so that results repeat
        largest = leading.gather(1, leading.abs().argmax(1, keepdim=True))
        self.mean.copy_(mean)
        self.components.copy_(leading * largest.sign())

    def _decompose(self, batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
        """Mean (value,) and eigenvectors (value, component) of the covariance, the leading ones last, in float64."""
        count, total, products = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for batch in batches:
            rows = batch.flatten(1).double()
            count, total = count + len(rows), total + rows.sum(0)
            products = products + rows.T @ rows
        mean = self._mean(count, total)
        return mean, torch.linalg.eigh(products / count - torch.outer(mean, mean))[1]

    def _iterate(self, batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
        """The same for the leading components alone, by subspace iteration."""
        count, total = 0, torch.zeros((), dtype=torch.float64)
        for batch in batches:
            count, total = count + len(batch), total + batch.flatten(1).sum(0, dtype=torch.float64)
        mean = self._mean(count, total)
        generator = torch.Generator().manual_seed(0)  # PCA has no seed: it is one model, whatever the variant
        width = min(2 * len(self.components) + OVERSAMPLING, self.item.size)
        product = torch.randn(self.item.size, width, generator=generator, dtype=torch.float64)
        for _ in range(ITERATIONS):
            basis = torch.linalg.qr(product)[0]
            product = torch.zeros_like(basis)  # covariance @ basis, times the count
            for batch in batches:
                rows = batch.flatten(1) - mean.float()
                product += (rows.T @ (rows @ basis.float())).double()
        # the covariance as the subspace sees it; symmetric but for rounding
        within = torch.linalg.eigh(basis.T @ product)[1]
        return mean, basis @ within

    def _mean(self, count: int, total: Tensor) -> Tensor:
        if count <= len(self.components):
            raise ValueError(f"PCA with {len(self.components)} components needs more than {count} training records")
        return total / count

    def encode(self, x: Tensor) -> Tensor:
        """The code (batch, latent_dim)."""
        return (x.flatten(1) - self.mean) @ self.components.T

    def decode_logits(self, code: Tensor) -> Tensor:
        """The reconstruction (batch, *item)."""
        return torch.unflatten(code @ self.components + self.mean, 1, self.item.shape)


MODEL = ModelEntry(PCA, Params, "the best linear code, in closed form", closed_form=True)

"""Principal component analysis: the best linear autoencoder, in closed form, and the yardstick for all others.

Paper: Pearson 1901; Baldi and Hornik, "Neural Networks and Principal Component Analysis", Neural Networks 2, 1989.
Departures: records come in batches, and the covariance of wide ones is never held (see `components.layers.principal`).
Limits: linear; where the variances of wide records around the last component are almost alike, components are mixed,
which costs next to nothing in squared error.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from components.data.item import Item
from components.layers.principal import principal
from components.models import Autoencoder, Loss, ModelEntry, ModelParams

FLAT = 1e-6
"""Directions that vary less than this share of the first one are not stretched to its size."""


class Params(ModelParams):
    """Size and scale of the code."""

    whiten: bool = False
    """Whether every code unit has variance 1; the reconstruction is the same."""


class PCA(Autoencoder):
    """Projection on the leading eigenvectors of the covariance, computed as in scikit-learn's full solver.

    Shapes: x (batch, *item), code (batch, latent_dim). The reconstruction is linear whatever loss is asked for.
    """

    def __init__(self, item: Item, params: Params, _: Loss = "mse") -> None:
        super().__init__(item, "mse")
        self.register_buffer("mean", torch.zeros(item.size))
        self.register_buffer("components", torch.zeros(params.latent_dim, item.size))
        self.register_buffer("deviations", torch.ones(params.latent_dim) if params.whiten else None)

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Fit to scaled records, given as batches (batch, *item) that can be read again and again (a list, say).

        Raises:
            ValueError: no more records than components.
        """
        found = principal(lambda: batches, len(self.components))
        self.mean.copy_(found.mean)
        self.components.copy_(found.components)
        if self.deviations is not None:
            self.deviations.copy_(found.deviations.clamp(min=max(FLAT * float(found.deviations[0]), FLAT)))

    def encode(self, x: Tensor) -> Tensor:
        """The code (batch, latent_dim)."""
        code = (x.flatten(1) - self.mean) @ self.components.T
        return code if self.deviations is None else code / self.deviations

    def decode_logits(self, code: Tensor) -> Tensor:
        """The reconstruction (batch, *item)."""
        code = code if self.deviations is None else code * self.deviations
        return torch.unflatten(code @ self.components + self.mean, 1, self.item.shape)


MODEL = ModelEntry(PCA, Params, "the best linear code, in closed form", closed_form=True, squared_error=True)

"""Hybrid autoencoder: PCA drops what is noise at little cost, a network bends what is left into a smaller code.

Paper: no single one; the habit of decorrelating inputs by PCA goes back to LeCun et al., "Efficient BackProp", Neural
Networks: Tricks of the Trade, 1998.
Departures: PCA is fitted before the first step and stays; one factor brings its space to size one, because whitening
would make the last directions as loud as the first (14 % more error on digits); the error is measured on the record,
not in PCA's space, so that it compares with the other models and includes what PCA dropped.
Limits: what PCA drops is lost; the squared error is the only loss, for PCA's space has no other.
"""

from collections.abc import Callable, Iterable

import torch
from pydantic import Field
from torch import Tensor, nn

from components.data.item import Item
from components.layers.dense import Activation, DenseParams, dense
from components.layers.principal import principal
from components.models import Autoencoder, Loss, ModelEntry

TINY = 1e-6
"""Smallest size of PCA's space that is brought to one: records that are all alike have none."""


class Params(DenseParams):
    """Size of PCA's space, and of the network in it."""

    activation: Activation = "relu"
    """Between the layers; leaky_relu has slope 0.2 below zero. The code is linear whatever is chosen."""
    pca_components: int | None = Field(None, ge=1)
    """Dimensions of PCA's space, between the code's and the record's; null is four codes, at most the record's size."""


class Hybrid(Autoencoder):
    """A dense network between PCA and its inverse. Shapes: x (batch, *item), code (batch, latent_dim)."""

    def __init__(self, item: Item, params: Params, _: Loss = "mse") -> None:
        super().__init__(item, "mse")
        count = params.pca_components or min(4 * params.latent_dim, item.size)
        if not params.latent_dim <= count <= item.size:
            allowed = f"between latent_dim ({params.latent_dim}) and the record's size ({item.size})"
            raise ValueError(f"pca_components must be {allowed}, got {count}")
        self.register_buffer("mean", torch.zeros(item.size))
        self.register_buffer("components", nn.init.orthogonal_(torch.empty(count, item.size)))
        self.register_buffer("spread", torch.ones(()))
        widths = params.widths(count)
        self.encoder = dense(widths, params.activation)
        self.decoder = dense(widths[::-1], params.activation)

    def prepare_for(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        """Fit PCA to the training records.

        Raises:
            ValueError: no more records than components.
        """
        found = principal(batches, len(self.components))
        self.mean.copy_(found.mean)
        self.components.copy_(found.components)
        self.spread.copy_(found.deviations.square().mean().sqrt().clamp(min=TINY))

    def encode(self, x: Tensor) -> Tensor:
        """The code (batch, latent_dim)."""
        return self.encoder((x.flatten(1) - self.mean) @ self.components.T / self.spread)

    def decode_logits(self, code: Tensor) -> Tensor:
        """The reconstruction (batch, *item)."""
        whole = self.spread * self.decoder(code) @ self.components + self.mean
        return torch.unflatten(whole, 1, self.item.shape)

    def speciality(self, x: Tensor) -> dict[str, Tensor]:
        """Squared error (batch,) that PCA alone leaves: no code of this network can leave less."""
        flat = x.flatten(1) - self.mean
        return {"projection_mse": (flat - flat @ self.components.T @ self.components).square().mean(1)}


MODEL = ModelEntry(Hybrid, Params, "PCA first, a dense network in its space", squared_error=True)

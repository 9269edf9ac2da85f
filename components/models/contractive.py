"""Contractive autoencoder: a code that hardly moves when the record does, except along what records really vary in.

Paper: Rifai et al., "Contractive Auto-Encoders: Explicit Invariance During Feature Extraction", ICML 2011.
Departures: deep as well as single-layered, untied; the squared norm of the Jacobian is exact or estimated without bias
(Hutchinson), per record, and on validation as in training, so that epochs are chosen by what is minimised. The decoder
sees the code centred and stretched, without which the sigmoid saturates (3.3 times the error on digits).
Limits: the exact norm of a deep encoder costs its width times its code per record; a sigmoid code can also shrink its
Jacobian by saturating.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import vjp

from components.data.item import Item
from components.layers.dense import Activation, DenseParams, dense
from components.models import Autoencoder, Loss, ModelEntry

CHUNK = 128
"""Records whose Jacobians are in memory at a time."""
NUDGE = 0.1
"""Standard deviation of the random step in `speciality`, in scaled units."""


class Params(DenseParams):
    """Widths, activation and the strength of the contraction."""

    latent_dim: int = Field(64, ge=1)
    """Code size."""
    activation: Activation = "relu"
    """Between the layers; leaky_relu has slope 0.2 below zero. The code is a sigmoid whatever is chosen."""
    contraction_weight: float = Field(1e-4, ge=0, le=100)
    """Factor on the squared norm of the Jacobian; 1e-4 to 1e-2 is usual."""
    estimator: Literal["exact", "hutchinson"] = "hutchinson"
    """exact sums over all code units; hutchinson takes one random direction per record and step, right on average."""


class Contractive(Autoencoder):
    """Dense layers around a sigmoid code. Shapes: x (batch, *item), code (batch, latent_dim)."""

    def __init__(self, item: Item, params: Params, loss: Loss) -> None:
        super().__init__(item, loss)
        self.params = params
        widths = params.widths(item.size)
        self.encoder = nn.Sequential(*dense(widths, params.activation), nn.Sigmoid())
        self.decoder = dense(widths[::-1], params.activation)

    def encode(self, x: Tensor) -> Tensor:
        """The code (batch, latent_dim), each unit between 0 and 1."""
        return self.encoder(x.flatten(1))

    def decode_logits(self, code: Tensor) -> Tensor:
        """The reconstruction before its output activation (batch, *item)."""
        # undoes the sigmoid's middle and its slope there, 1/2 and 1/4
        return torch.unflatten(self.decoder(4 * code - 2), 1, self.item.shape)

    def objective(self, x: Tensor, target: Tensor | None = None) -> dict[str, Tensor]:
        """Reconstruction and the weighted contraction (batch,)."""
        if self.params.estimator == "exact":
            code = self.encode(x)
            norm = self.jacobian_norm(x, code)
        else:
            code, norm = self.estimated_norm(x)
        reconstruction = self.reconstruction_loss(self.decode_logits(code), x if target is None else target)
        return {"reconstruction": reconstruction, "contraction": self.params.contraction_weight * norm}

    def jacobian_norm(self, x: Tensor, code: Tensor) -> Tensor:
        """Sum of the squares of d code / d x for each record (batch,), exactly."""
        if len(self.encoder) == 2:  # one layer and its sigmoid, whose slope is z (1 - z): the paper's closed form
            return (code * (1 - code)).square() @ self.encoder[0].weight.square().sum(1)
        return torch.cat([self._deep_norm(part) for part in x.flatten(1).split(CHUNK)])

    def _deep_norm(self, x: Tensor) -> Tensor:
        """J = S_k W_k ... S_1 W_1 with diagonal slopes S, multiplied from the code's side, which is the smallest.

        The last product, with the width of the record, is never formed: |A W_1|^2 = sum(A W_1 W_1' * A), and W_1 W_1'
        is the same for all records.
        """
        linears, slopes = self.encoder[::2], []
        for linear, activation in zip(linears, self.encoder[1::2], strict=True):
            before = linear(x)
            x, pull_back = vjp(activation, before)
            slopes.append(pull_back(torch.ones_like(x))[0])  # value by value, so one product gives every slope
        product = slopes[-1][:, :, None] * linears[-1].weight  # (batch, code, width)
        for linear, slope in zip(reversed(linears[1:-1]), reversed(slopes[1:-1]), strict=True):
            product = (product * slope[:, None]) @ linear.weight
        product = product * slopes[0][:, None]
        first = linears[0].weight
        return (product @ (first @ first.T) * product).sum((1, 2))

    def estimated_norm(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The code and |vᵀJ|² (batch,), v of random signs: its mean over v is the sum of the squares of J."""
        code, pull_back = vjp(self.encoder, x.flatten(1))
        signs = torch.randint_like(code, 2) * 2 - 1
        return code, pull_back(signs)[0].square().sum(1)

    def speciality(self, x: Tensor) -> dict[str, Tensor]:
        """Per record (batch,): the norm of the Jacobian, and how far the code moves relative to a random step of x."""
        if not len(x):
            return {"jacobian_norm": x.new_zeros(0), "code_shift": x.new_zeros(0)}
        code, step = self.encode(x), NUDGE * torch.randn_like(x)
        shift = (self.encode(x + step) - code).norm(dim=1) / step.flatten(1).norm(dim=1)
        return {"jacobian_norm": self.jacobian_norm(x, code).sqrt(), "code_shift": shift}


MODEL = ModelEntry(Contractive, Params, "a code that small changes of the record hardly move", overcomplete=True)

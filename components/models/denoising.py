"""Denoising autoencoder: reconstruct the clean record from a corrupted one, so that copying the input does not help.

Paper: Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders", ICML 2008.
Departures: wraps any network of the zoo as its base; validation is corrupted too, by the same noise in every epoch,
so that epochs are chosen on the task that is trained. Scoring reads the record as it is.
Limits: learns the corruption it is shown; another kind or strength may be removed badly.
"""

from collections.abc import Callable, Iterable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from components.models import Autoencoder, ModelEntry, ModelParams


class Params(ModelParams):
    """Kind and strength of the corruption."""

    corruption: Literal["gaussian", "masking", "salt_pepper"] = "gaussian"
    """gaussian adds noise; masking sets values to 0; salt_pepper sets values to 0 or 1 (images)."""
    strength: float = Field(0.3, gt=0, le=1)
    """gaussian: standard deviation in scaled units; masking, salt_pepper: share of values, each drawn on its own."""


def gaussian(x: Tensor, strength: float) -> Tensor:
    """Add N(0, strength²) to every value."""
    return x + strength * torch.randn_like(x)


def masking(x: Tensor, strength: float) -> Tensor:
    """Set each value to 0 with probability `strength`; the others are not scaled."""
    return x * (torch.rand_like(x) >= strength)


def salt_pepper(x: Tensor, strength: float) -> Tensor:
    """Set each value with probability `strength` to 0 or 1, evenly: one draw per value, so positions cannot collide."""
    draw = torch.rand_like(x)
    peppered = torch.where(draw < strength / 2, torch.zeros_like(x), x)
    return torch.where(draw >= 1 - strength / 2, torch.ones_like(x), peppered)


CORRUPTIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "gaussian": gaussian,
    "masking": masking,
    "salt_pepper": salt_pepper,
}


class Denoising(Autoencoder):
    """Any base model, trained to undo a corruption of its input. Shapes are the base's."""

    def __init__(self, base: Autoencoder, params: Params) -> None:
        super().__init__(base.item, base.loss)
        if params.corruption == "salt_pepper" and not self.item.unit_range:
            raise ValueError("corruption 'salt_pepper' needs values in 0..1, rows are standardised")
        self.base = base
        self.params = params

    def encode(self, x: Tensor) -> Tensor:
        """The base's code of the record as it is."""
        return self.base.encode(x)

    def decode_logits(self, code: Tensor) -> Tensor:
        """The base's reconstruction before its output activation."""
        return self.base.decode_logits(code)

    def corrupt(self, x: Tensor) -> Tensor:
        """A corrupted copy of x, kept in 0..1 where values lie there; draws from torch's global generator."""
        corrupted = CORRUPTIONS[self.params.corruption](x, self.params.strength)
        return corrupted.clamp(0, 1) if self.item.unit_range else corrupted

    def objective(self, x: Tensor, target: Tensor | None = None) -> dict[str, Tensor]:
        """The base's terms (batch,) for the corrupted record, its reconstruction compared with the clean one."""
        return self.base.objective(self.corrupt(x), x if target is None else target)

    def prepare_for(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        """What the base does before its first step, on clean records."""
        self.base.prepare_for(batches)

    def speciality(self, x: Tensor) -> dict[str, Tensor]:
        """Squared error to the clean record (batch,) before (noisy) and after (denoised), and the gain in decibel;
        beside what the base says of itself.
        """
        corrupted = self.corrupt(x)
        restored = self.decode(self.encode(corrupted))
        noisy, denoised = ((y - x).square().flatten(1).mean(1).clamp(min=1e-12) for y in (corrupted, restored))
        gain = 10 * torch.log10(noisy / denoised)
        return {**self.base.speciality(x), "noisy_mse": noisy, "denoised_mse": denoised, "denoising_gain_db": gain}


MODEL = ModelEntry(Denoising, Params, "any base, trained to undo noise", wraps=True, default_base="vanilla")

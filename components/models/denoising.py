"""Denoising autoencoder: reconstruct the clean record from a corrupted one, so that copying the input does not help.

Paper: Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders", ICML 2008.
Departures: wraps any network of the zoo as its base and keeps the base's own terms; several corruptions take turns;
validation is corrupted too, by the same noise in every epoch, so that epochs are chosen on the task that is trained.
Scoring reads the record as it is.
Limits: learns the corruption it is shown; another kind or strength may be removed badly.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BeforeValidator, Field
from torch import Tensor

from components.data.item import Item
from components.models import Autoencoder, ModelEntry, ModelParams

Kind = Literal["gaussian", "masking", "dropout", "salt_pepper", "blur", "swap"]


def as_list(value: Any) -> Any:
    """One value as a list of one."""
    return value if isinstance(value, list) else [value]


class Params(ModelParams):
    """Kind and strength of the corruption."""

    corruption: Annotated[list[Kind], BeforeValidator(as_list)] = Field(["gaussian"], min_length=1)
    """gaussian adds noise; masking sets values to 0, dropout also scales up the rest; salt_pepper sets values to 0 or 1
    (images); blur smooths (images); swap takes columns from another record. Of several, each batch draws one."""
    strength: float = Field(0.3, gt=0, le=1)
    """gaussian: standard deviation in scaled units; masking, dropout, salt_pepper, swap: share of values (columns for
    swap), each drawn on its own."""
    blur_sigma: float = Field(1.0, gt=0, le=100)
    """blur: standard deviation of the Gaussian in pixels."""


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


def dropout(x: Tensor, strength: float) -> Tensor:
    """Set each value to 0 with probability `strength` and divide the others by 1 - strength: the mean stays."""
    return F.dropout(x, strength, training=True)


def blur(x: Tensor, sigma: float) -> Tensor:
    """Convolve images (batch, channel, height, width) with a Gaussian of `sigma` pixels; edges repeat outwards."""
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = torch.softmax(-(offsets.square()) / (2 * sigma**2), 0)
    channels = x.shape[1]
    padded = F.pad(x, (radius, radius, radius, radius), mode="replicate")
    rows = F.conv2d(padded, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(rows, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


def swap(x: Tensor, strength: float, groups: Sequence[tuple[int, int]] = ()) -> Tensor:
    """Replace each value with probability `strength` by the same value of another record, each drawn on its own.

    Args:
        x: (batch, *item); a record that is alone in its batch stays as it is.
        groups: (start, stop) of values that are one column and move together.
    """
    values, count = x.flatten(1), len(x)
    column = torch.arange(values.shape[1], device=x.device)
    for start, stop in groups:
        column[start:stop] = start
    own = torch.arange(count, device=x.device)[:, None]
    others = (own + torch.randint(1, max(count, 2), values.shape, device=x.device)) % max(count, 1)
    chosen = torch.rand_like(values) < strength
    source = torch.where(chosen, others, own)[:, column]
    return values.gather(0, source).view_as(x)


@dataclass(frozen=True)
class Corruption:
    """One row of the table of corruptions."""

    apply: Callable[[Tensor, Params, Item], Tensor]
    unit_range: bool = False
    """Makes sense for values in 0..1 only."""
    images: bool = False
    """Needs two spatial dimensions."""


CORRUPTIONS: dict[Kind, Corruption] = {
    "gaussian": Corruption(lambda x, params, item: within(gaussian(x, params.strength), item)),
    "masking": Corruption(lambda x, params, _: masking(x, params.strength)),
    "dropout": Corruption(lambda x, params, _: dropout(x, params.strength)),
    "salt_pepper": Corruption(lambda x, params, _: salt_pepper(x, params.strength), unit_range=True),
    "blur": Corruption(lambda x, params, _: blur(x, params.blur_sigma), images=True),
    "swap": Corruption(lambda x, params, item: swap(x, params.strength, item.groups)),
}


def within(x: Tensor, item: Item) -> Tensor:
    """x, cut to 0..1 where records lie there."""
    return x.clamp(0, 1) if item.unit_range else x


class Denoising(Autoencoder):
    """Any base model, trained to undo a corruption of its input. Shapes are the base's."""

    def __init__(self, base: Autoencoder, params: Params) -> None:
        super().__init__(base.item, base.loss)
        self.base, self.params = base, params
        for kind in params.corruption:
            if CORRUPTIONS[kind].unit_range and not self.item.unit_range:
                raise ValueError(f"corruption '{kind}' needs values in 0..1, rows are standardised")
            if CORRUPTIONS[kind].images and not self.item.is_image:
                raise ValueError(f"corruption '{kind}' needs images, the records are rows")

    def encode(self, x: Tensor) -> Tensor:
        """The base's code of the record as it is."""
        return self.base.encode(x)

    def decode_logits(self, code: Tensor) -> Tensor:
        """The base's reconstruction before its output activation."""
        return self.base.decode_logits(code)

    def corrupt(self, x: Tensor) -> Tensor:
        """A corrupted copy of x by one kind of corruption; draws from torch's global generator."""
        kinds = self.params.corruption
        # drawn on the host, so that no step waits for the device
        kind = kinds[int(torch.randint(len(kinds), ()))] if len(kinds) > 1 else kinds[0]
        return CORRUPTIONS[kind].apply(x, self.params, self.item)

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

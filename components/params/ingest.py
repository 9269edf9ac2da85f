"""The section `ingest:`: where raw data comes from."""

from typing import Literal

from pydantic import Field, model_validator

from components import sources
from components.params import Section


class Params(Section):
    """Which source, and where its data lies."""

    source: str
    """A file of components/sources/, with `:NAME` behind it where the source offers several data sets."""
    path: str | None = Field(None, min_length=1)
    """Relative to the checkout or absolute; embedded sources need none."""

    image_size: list[int] | None = Field(None, min_length=2, max_length=2)
    """[height, width] that every image is brought to; null wants images that are all of one size."""
    channels: Literal["auto", "grey", "rgb"] = "auto"
    """What every image is brought to; auto takes them as they are and refuses a mixture."""
    max_bad_fraction: float = Field(0.0, ge=0, lt=1)
    """Share of the files that may be corrupt; those are listed and left out."""

    @model_validator(mode="after")
    def _check(self) -> "Params":
        sources.check(self.source, self.path)
        if self.image_size and not all(1 <= side <= 4096 for side in self.image_size):
            raise ValueError(f"image_size must hold sides of 1 to 4096 pixels, got {self.image_size}")
        return self

    @property
    def options(self) -> sources.Options:
        """What the source needs to know when it reads."""
        size = tuple(self.image_size) if self.image_size else None
        return sources.Options(size, self.channels, self.max_bad_fraction)

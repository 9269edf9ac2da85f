"""The section `ingest:`: where raw data comes from."""

from pydantic import Field, model_validator

from components import sources
from components.params import Section


class Params(Section):
    """Which source, and where its data lies."""

    source: str
    """A file of components/sources/, with `:NAME` behind it where the source offers several data sets."""
    path: str | None = Field(None, min_length=1)
    """Relative to the checkout or absolute; embedded sources need none."""

    @model_validator(mode="after")
    def _check(self) -> "Params":
        sources.check(self.source, self.path)
        return self

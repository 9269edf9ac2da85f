"""The section `register:`: the registry and the rule of promotion."""

from pydantic import Field

from components.params import Section


class Params(Section):
    """Outside the graph: these never make a stage stale."""

    name: str = Field("hourglass", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Registered model's name."""
    margin: float = Field(0.0, ge=0)
    """How much worse than the champion, in the winner's metric, a challenger may be at the interval's lower end."""
    allow_dirty: bool = False
    """Let a version whose code differs from its commit become champion."""

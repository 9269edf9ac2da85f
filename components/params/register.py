"""The section `register:`: the registry and the rule of promotion."""

from pydantic import Field

from components.params import Section


class Params(Section):
    """Outside the graph: these never make a stage stale."""

    name: str = Field("hourglass", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Registered model's name."""
    margin: float = Field(0.0, ge=0)
    """The rule: a challenger takes over when the worse end of the 95 % interval of its paired difference from the
    champion, in the winner's metric on test records new to both, is better than minus this."""
    shadow_records: int = Field(0, ge=0)
    """New records that a challenger which won its match scores beside the champion before it takes over."""
    shadow_hours: float = Field(0.0, ge=0)
    """Shortest time that it does so; where both are 0, it takes over at once."""
    probation_hours: float = Field(48.0, ge=0)
    """After a promotion the champion before scores the same records for so long, and returns when the new champion's
    alarm rate leaves its band and its own does not; 0 never goes back by itself."""
    allow_dirty: bool = False
    """Let a version whose code differs from its commit become champion."""

    @property
    def shadow(self) -> str | None:
        """The period in shadow in words; None where there is none."""
        parts = [f"{self.shadow_records:,} records"] * bool(self.shadow_records)
        parts += [f"{self.shadow_hours:g} hours"] * bool(self.shadow_hours)
        return " and ".join(parts) or None

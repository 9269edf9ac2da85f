"""What the stack must know of a server to run it."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


def nothing() -> None:
    """Nothing to do."""


@dataclass(frozen=True)
class Server:
    """A process, how to tell that it is well, and what it needs done."""

    name: str
    command: tuple[str, ...]
    """Holds no secret: everyone on the machine can read it."""
    is_well: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What it finds beside the plain environment; secrets travel here."""
    before: Callable[[], None] = nothing
    """Done before each start."""
    after: Callable[[], None] = nothing
    """Done after each start, when it is well; finds it as it was left."""
    stop_signal: signal.Signals = signal.SIGTERM

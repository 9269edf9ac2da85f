"""What a benchmark reports."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """One line of the result: a claim, the rounds behind it and the bound it was asked to keep."""

    claim: str
    rounds: tuple[float, ...]
    """One value per round."""
    bound: float
    at_least: bool = True
    unit: str = "x"

    @property
    def median(self) -> float:
        """The value to quote."""
        return statistics.median(self.rounds)

    @property
    def holds(self) -> bool:
        """Whether the median keeps the bound."""
        return self.median >= self.bound if self.at_least else self.median <= self.bound

    def __str__(self) -> str:
        sign = "at least" if self.at_least else "at most"
        verdict = "ok    " if self.holds else "MISSED"
        spread = f"{min(self.rounds):.2f}..{max(self.rounds):.2f}, {len(self.rounds)} rounds"
        asked = f"{sign} {self.bound:g}{self.unit}"
        return f"{verdict} {self.claim}: {self.median:.2f}{self.unit} (asked: {asked}; {spread})"


def interleaved(rounds: int, ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[float, ...]:
    """ours/theirs for each round, the two in turn, after one round that does not count."""
    ours(), theirs()
    return tuple(ours() / theirs() for _ in range(rounds))

"""The conformal test martingale: money bet against "nothing has changed", whose growth is evidence of a change.

Papers: Vovk, Nouretdinov and Gammerman, "Testing Exchangeability On-Line", ICML 2003 (the martingale); Ville, "Étude
critique de la notion de collectif", 1939 (the bound); Shafer and Vovk, "Game-Theoretic Foundations for Probability and
Finance", 2019 (mixtures over the time at which betting begins).

While p-values are independent and uniform the wealth is a non-negative martingale that starts at 1, so the chance that
it ever reaches 1 / delta is at most delta, however often and however long anyone looks.

The wealth is a mixture: each bet has an equal share, of which 1 / (k (k + 1)) is laid down at record k and the rest
waits as cash. A single bet from the start would be ruined by a year of normal records before the change that it is for;
with cash, a change after k records is found as if betting had begun there with 1 / k² of the money.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from components.drifting.online import smoothed

POWERS = (0.5, 0.75, 0.9)
"""Exponents e of the bets e p^(e - 1) on small p-values and, mirrored, on large ones; nearer to 1 is more careful."""
SPREADS = (0.4, -0.8)
"""Factors b of the bets 1 + b (1 - 12 (p - 1/2)²) on p-values near the middle (b > 0) or the ends."""
BETS = 2 * len(POWERS) + len(SPREADS)
_CHUNK = 1 << 20
"""Records at a time, so that memory does not grow with the batch."""
_SMALLEST = 2.0**-54  # below any 1 - p but zero


def log_bets(p: np.ndarray) -> Iterator[np.ndarray]:
    """Logarithm of what each bet makes of one unit of money, all of them densities on (0, 1]. (record,) each."""
    for side in (p, np.maximum(1 - p, _SMALLEST)):
        logarithm = np.log(side)
        for power in POWERS:
            yield np.log(power) + (power - 1) * logarithm
    shape = 1 - 12 * np.square(p - 0.5)
    for spread in SPREADS:
        yield np.log1p(spread * shape)


@dataclass(frozen=True)
class Wealth:
    """The state of the martingale, as logarithms."""

    records: int = 0
    """P-values bet on."""
    growth: np.ndarray = field(default_factory=lambda: np.zeros(BETS))
    """What one unit laid down at the beginning would be, for each bet (bet,)."""
    entered: np.ndarray = field(default_factory=lambda: np.full(BETS, -np.inf))
    """Money laid down, each part divided by the growth before it; times `growth` it is today's wealth (bet,)."""
    now: float = 0.0
    peak: float = 0.0
    """Largest so far."""


def bet(wealth: Wealth, p: np.ndarray) -> tuple[Wealth, np.ndarray]:
    """Bet on p-values (record,); returns the state after them and the log-wealth after each (record,).

    All sums run strictly from left to right, so a stream in pieces gives bit for bit what it gives in one go.
    """
    if not len(p):
        return wealth, np.empty(0)
    number = wealth.records + 1 + np.arange(len(p), dtype=np.float64)
    laid_down = -np.log(number) - np.log(number + 1)
    path, growth, entered = -np.log(number + 1), np.empty(BETS), np.empty(BETS)
    for index, gain in enumerate(log_bets(p)):
        grown = np.add.accumulate(np.concatenate([wealth.growth[index : index + 1], gain]))
        parts = np.concatenate([wealth.entered[index : index + 1], laid_down - grown[:-1]])
        laid = np.logaddexp.accumulate(parts)
        path = np.logaddexp(path, grown[1:] + laid[1:] - np.log(BETS))
        growth[index], entered[index] = grown[-1], laid[-1]
    after = Wealth(int(number[-1]), growth, entered, float(path[-1]), max(wealth.peak, float(path.max())))
    return after, path


@dataclass(frozen=True)
class Stream:
    """All that the martingale must remember of a stream between two looks."""

    history: np.ndarray
    """Scores that new ones are ranked among, ascending (score,) float32; at first those of calibration."""
    wealth: Wealth = field(default_factory=Wealth)
    crossed: int | None = None
    """Number of the record at which the wealth first reached 1 / delta."""

    def alarm(self, delta: float) -> bool:
        """Whether the wealth has ever reached 1 / delta."""
        return self.wealth.peak >= -np.log(delta)


def follow(stream: Stream, scores: np.ndarray, delta: float, memory: int, seed: int) -> Stream:
    """The stream after more scores (record,); those that are no number count as the highest.

    Args:
        stream: before.
        scores: in the order of their arrival.
        delta: an alarm is a wealth of 1 / delta.
        memory: scores to rank among at most. When they are so many, ranking begins anew among the records to come,
            calibration left out: ranks among a part of the old scores would depend on earlier p-values.
        seed: of the ties, which are broken by a draw per record.
    """
    scores = np.where(np.isnan(scores), np.inf, scores).astype(np.float32)
    while len(scores):
        history = stream.history if len(stream.history) < memory else stream.history[:0]
        taken, scores = np.split(scores, [min(memory - len(history), _CHUNK)])
        p = smoothed(history, taken, _uniform(seed, stream.wealth.records, len(taken)))
        wealth, path = bet(stream.wealth, p)
        crossed = stream.crossed
        if crossed is None and len(over := np.flatnonzero(path >= -np.log(delta))):
            crossed = stream.wealth.records + int(over[0]) + 1
        # two sorted runs: the stable sort merges them
        stream = Stream(np.sort(np.concatenate([history, np.sort(taken)]), kind="stable"), wealth, crossed)
    return stream


def _uniform(seed: int, start: int, count: int) -> np.ndarray:
    """The draws of records `start` and on in (0, 1], the same however the stream is cut (record,)."""
    return 1 - np.random.Generator(np.random.PCG64(seed).advance(start)).random(count)

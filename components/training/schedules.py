"""Learning-rate schedules as pure functions of the step, so that a resumed run needs no scheduler state."""

import math
from collections.abc import Callable

_WARM_UP = 0.3
"""Share of the run in which one_cycle climbs."""
_START, _END = 1 / 25, 1 / 25e4
"""Where one_cycle begins and ends, relative to its peak (Smith and Topin 2018; torch's defaults)."""


def constant(_: float) -> float:
    """The peak, always."""
    return 1.0


def cosine(progress: float) -> float:
    """From the peak down to zero along half a cosine (Loshchilov and Hutter 2017)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def one_cycle(progress: float) -> float:
    """Up to the peak, then down to almost nothing (Smith and Topin 2018)."""
    if progress < _WARM_UP:
        return _blend(_START, 1.0, progress / _WARM_UP)
    return _blend(1.0, _END, (progress - _WARM_UP) / (1 - _WARM_UP))


def _blend(start: float, end: float, share: float) -> float:
    return end + (start - end) * cosine(share)


SCHEDULES: dict[str, Callable[[float], float]] = {"constant": constant, "cosine": cosine, "one_cycle": one_cycle}
"""Name, then the factor on the learning rate for progress through the run in [0, 1)."""

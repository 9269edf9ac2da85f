"""Learning-rate schedules as pure functions of step and history, so that a resumed run needs no scheduler state.

Papers: Loshchilov and Hutter, "SGDR", ICLR 2017 (cosine); Smith and Topin, "Super-Convergence", 2018 (one_cycle);
Goyal et al., "Accurate, Large Minibatch SGD", 2017 (warm-up).
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from components.params.train import Params

_CLIMB = 0.3
"""Share of the run in which one_cycle climbs."""
_START, _END = 1 / 25, 1 / 25e4
"""Where one_cycle begins and ends, relative to its peak (torch's defaults)."""


@dataclass(frozen=True)
class Now:
    """A moment of a run, and what schedules may know of it."""

    progress: float
    """Share of the run that is done, in [0, 1)."""
    params: Params
    plateaus: int = 0
    """Times that the validation loss stood still for `plateau_epochs`."""
    restarts: int = 0
    """Times that it stood still for `patience`."""

    def at(self, progress: float) -> "Now":
        """Another moment of the same epoch."""
        return dataclasses.replace(self, progress=progress)


def constant(_: Now) -> float:
    """The peak, always."""
    return 1.0


def cosine(now: Now) -> float:
    """From the peak down to zero along half a cosine."""
    return _half_cosine(now.progress)


def one_cycle(now: Now) -> float:
    """Up to the peak, then down to almost nothing."""
    if now.progress < _CLIMB:
        return _blend(_START, 1.0, now.progress / _CLIMB)
    return _blend(1.0, _END, (now.progress - _CLIMB) / (1 - _CLIMB))


def step(now: Now) -> float:
    """Down by `decay` at `drops` moments that divide the run evenly."""
    return now.params.decay ** int(now.progress * (now.params.drops + 1))


def exponential(now: Now) -> float:
    """Smoothly down to `decay` at the end of the run."""
    return now.params.decay**now.progress


def plateau(now: Now) -> float:
    """Down by `decay` whenever the validation loss has not improved for `plateau_epochs`."""
    return now.params.decay**now.plateaus


SCHEDULES: dict[str, Callable[[Now], float]] = {
    "constant": constant,
    "cosine": cosine,
    "exponential": exponential,
    "one_cycle": one_cycle,
    "plateau": plateau,
    "step": step,
}
"""Name, then the factor on the learning rate."""


def rate(now: Now) -> float:
    """The learning rate: the schedule's, climbing from nothing over `warm_up` epochs, lower after every restart."""
    params, epochs_done = now.params, now.progress * now.params.epochs
    climb = min(1.0, epochs_done / params.warm_up) if params.warm_up else 1.0
    return params.learning_rate * SCHEDULES[params.schedule](now) * climb * params.decay**now.restarts


def begin(epoch: int, losses: Sequence[float], params: Params) -> Now:
    """The first moment of an epoch, behind epochs with these validation losses."""
    found = [len(plateaus(losses, patience)) for patience in (params.plateau_epochs, params.patience)]
    return Now(epoch / params.epochs, params, *found)


def plateaus(losses: Sequence[float], patience: int) -> list[int]:
    """Epochs at whose end the loss had not improved for `patience` epochs, counted anew after each; 0 finds none."""
    found, best, stale = [], math.inf, 0
    for epoch, loss in enumerate(losses):
        stale = 0 if loss < best else stale + 1
        best = min(best, loss)
        if patience and stale == patience:
            found.append(epoch)
            stale = 0
    return found


def _blend(start: float, end: float, share: float) -> float:
    return end + (start - end) * _half_cosine(share)


def _half_cosine(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * share))

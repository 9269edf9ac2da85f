"""Learning-rate range test: raise the rate from step to step and watch where the loss falls fastest.

Paper: Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017.
Departures: rates rise exponentially and the loss is smoothed (both after Howard and Gugger's fastai); the suggestion is
where the smoothed loss falls most steeply, a rate for the peak of a schedule.
"""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from components.probing.plot import loss_over_rate
from components.reporting.plots import save
from components.runtime.outputs import complete_dir
from components.training.trainer import Trainer, derive_seed

LOWEST, HIGHEST, STEPS = 1e-6, 1.0, 150
_SMOOTHING = 0.9  # share of the past in the smoothed loss
_DIVERGED = 4.0  # times the lowest smoothed loss
_SETTLING = 10  # first steps, in which smoothing has seen too little


@dataclass(frozen=True)
class Sweep:
    """What was seen, (step,) each, up to the step that diverged."""

    rates: np.ndarray
    losses: np.ndarray
    """Of single batches."""
    smoothed: np.ndarray

    @property
    def suggestion(self) -> float | None:
        """The rate of the steepest fall; None where the loss never fell."""
        lowest = int(np.argmin(self.smoothed))
        if lowest <= _SETTLING + 1:
            return None
        slopes = np.gradient(self.smoothed, np.log(self.rates))[_SETTLING:lowest]
        return float(self.rates[_SETTLING + int(np.argmin(slopes))])


def sweep(trainer: Trainer, records: Tensor) -> Sweep:
    """Train with a rate that rises from LOWEST to HIGHEST; the trainer's network is spent.

    Args:
        records: raw training records (record, *item), gone through as often as needed.
    """
    trainer.network.train()
    torch.manual_seed(derive_seed(trainer.seed, "probe"))
    size = trainer.params.batch_size
    rounds = math.ceil(STEPS * size / len(records))
    order = torch.cat([torch.randperm(len(records)) for _ in range(rounds)])
    rates, losses, smoothed, average = np.geomspace(LOWEST, HIGHEST, STEPS), [], [], 0.0
    for step, rows in enumerate(order.split(size)[:STEPS]):
        losses.append(take_step(trainer, records[rows.to(records.device)], float(rates[step])))
        average = _SMOOTHING * average + (1 - _SMOOTHING) * losses[-1]
        smoothed.append(average / (1 - _SMOOTHING ** (step + 1)))
        if not math.isfinite(average) or smoothed[-1] > _DIVERGED * max(min(smoothed), 1e-12):
            break
    seen = np.isfinite(smoothed)
    return Sweep(rates[: len(losses)][seen], np.array(losses)[seen], np.array(smoothed)[seen])


def probe(trainer: Trainer, records: Tensor, folder: Path) -> Sweep:
    """Sweep, and write rates.csv and rates.svg to `folder`."""
    found = sweep(trainer, records)
    with complete_dir(folder) as made:
        with (made / "rates.csv").open("w", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["learning_rate", "loss", "smoothed_loss"])
            writer.writerows(zip(found.rates, found.losses, found.smoothed, strict=True))
        save(loss_over_rate(found.rates, found.losses, found.smoothed, found.suggestion), made / "rates.svg")
    return found


def take_step(trainer: Trainer, raw: Tensor, rate: float) -> float:
    """One gradient step on raw records (batch, *item) at this learning rate; returns the loss before it."""
    for group in trainer.optimizer.param_groups:
        group["lr"] = rate
    with trainer.autocast():
        terms = trainer.objective(trainer.scale(raw.to(trainer.device)))
    means = {name: term.float().mean() for name, term in terms.items()}
    loss = trainer.factors.total(means, trainer.params.term_warm_up)
    trainer.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(trainer.weights, trainer.params.clip_norm)
    trainer.optimizer.step()
    return loss.item()

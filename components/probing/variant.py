"""The learning-rate probe of one variant: `python -m components.train V --probe`."""

from pathlib import Path

import numpy as np
import torch

from components.data.scaling import Scale
from components.data.splits import load_records
from components.objectives import load_distance
from components.probing.learning_rate import probe
from components.runtime.errors import UserError
from components.runtime.outputs import WORK
from components.runtime.process import device
from components.training.initial import build
from components.training.planning import plan
from components.training.precision import resolve_precision
from components.training.trainer import Trainer


def probe_variant(variant: str, seed: int, out: Path = WORK / "probe") -> str:
    """Look for a learning rate; write a table and a picture to `.work/probe/V/` and return what they say.

    Raises:
        UserError: the variant is not resolved, does not suit the data or has no learning rate.
    """
    planned, on = plan(variant), device()
    params, where = planned.params, planned.where
    if planned.closed_form:
        what = f"'{planned.blueprint.model}' is fitted in closed form"
        raise UserError(where, what, "probe a variant that is trained by steps")
    network = build(planned.blueprint, params.init, seed, where).to(on)
    network.distance = load_distance(planned.blueprint.loss, params.perceptual_weights, on, where)
    precision = resolve_precision(params.precision, on)
    trainer = Trainer(network, Scale(planned.manifest).to(on), params, seed, precision, where)
    found = probe(trainer, torch.from_numpy(np.array(load_records("train"))), out / variant)
    seen = f"{variant}: {len(found.rates)} steps up to {found.rates[-1]:.2g}, see {out / variant}/rates.svg"
    if found.suggestion is None:
        return f"{seen}; the loss never fell: look at the data or try another train.init"
    return f"{seen}\n{variant}: the loss falls fastest at train.learning_rate {found.suggestion:.2g}"

"""What the contractive penalty costs: a training step of contractive 784-512-256-128-64 against one of vanilla."""

import time
from functools import partial

import torch

from components.models import Autoencoder
from tests.benchmarks.loops import BATCH, THREADS, Unit, network, precisions
from tests.benchmarks.ratios import Ratio, interleaved

ROUNDS, STEPS = 5, 4
SIZES = {"latent_dim": 64, "hidden": [512, 256, 128]}


def seconds(model: Autoencoder, raw: torch.Tensor, precision: str) -> float:
    """One step as the trainer takes it, without the reading of records."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    started = time.perf_counter()
    for _ in range(STEPS):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            terms = model.objective(Unit()(raw))
        loss = sum(term.float().mean() for term in terms.values())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return (time.perf_counter() - started) / STEPS


def measure() -> list[Ratio]:
    """Both estimators, in every precision of this machine."""
    torch.set_num_threads(THREADS)
    raw = torch.randint(0, 256, (BATCH, 1, 28, 28), dtype=torch.uint8)
    lines = []
    for precision in precisions():
        vanilla = partial(seconds, network("vanilla", **SIZES), raw, precision)
        for estimator, bound in (("hutchinson", 2.5), ("exact", 12.0)):
            contractive = network("contractive", estimator=estimator, **SIZES)
            rounds = interleaved(ROUNDS, partial(seconds, contractive, raw, precision), vanilla)
            claim = f"time of a contractive step, {estimator}, 64 codes, {precision}, against a vanilla step"
            lines.append(Ratio(claim, rounds, bound, at_least=False))
    return lines

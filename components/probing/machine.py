"""What this machine trains fastest with: precision, compilation and threads, measured on one small dense network.

The choice stays with the person who writes params.yaml: each of them changes results, and a timing must not.
"""

import os
import statistics
import time
from dataclasses import dataclass

import torch

from components.data.item import Item
from components.models import Blueprint
from components.params.train import Params
from components.probing.learning_rate import take_step
from components.runtime.process import device, make_deterministic
from components.training.trainer import Trainer

RECORDS, BATCH, ROUNDS = 128 * 40, 128, 5
_MARGIN = 1.1  # a gain below a tenth is noise on a shared machine


class Unit(torch.nn.Module):
    """0..255 to 0..1."""

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        """Scaled float32 records."""
        return raw.float() / 255


@dataclass(frozen=True)
class Setting:
    """One way to train."""

    precision: str
    compile: bool
    threads: int

    def __str__(self) -> str:
        compiled = "true" if self.compile else "false"
        return f"precision: {self.precision}, compile: {compiled}, threads: {self.threads}"


def settings(cores: int) -> list[Setting]:
    """The plainest first: precisions with one thread, half of the cores and all; compiled with one thread only, because
    each compilation takes up to a minute.
    """
    counts, precisions = sorted({1, max(1, cores // 2), cores}), ("float32", "bf16")
    plain = [Setting(precision, False, count) for precision in precisions for count in counts]
    return [*plain, *(Setting(precision, True, 1) for precision in precisions)]


def measure(tried: list[Setting], records: int = RECORDS) -> dict[Setting, float]:
    """Records per second of each setting: the median of rounds that take turns, so that a busy moment hits all."""
    data = torch.randint(0, 256, (records, 1, 28, 28), dtype=torch.uint8, device=device())
    trainers = {setting: _trainer(setting) for setting in tried}
    speeds: dict[Setting, list[float]] = {setting: [] for setting in tried}
    for turn in range(ROUNDS + 1):  # the first one compiles and warms up
        for setting, trainer in trainers.items():
            torch.set_num_threads(setting.threads)
            started = time.perf_counter()
            for raw in data.split(BATCH):
                take_step(trainer, raw, 1e-3)  # reads its loss, so a GPU has finished too
            if turn:
                speeds[setting].append(records / (time.perf_counter() - started))
    return {setting: statistics.median(found) for setting, found in speeds.items()}


def suggest(speeds: dict[Setting, float]) -> Setting:
    """The plainest setting that no other beats by a tenth."""
    best = max(speeds.values())
    return next(setting for setting, speed in speeds.items() if speed * _MARGIN >= best)


def probe() -> str:
    """A table of what was measured, and a suggestion."""
    make_deterministic(1)  # as training does; it costs speed on a GPU
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    print(f"measuring {len(settings(cores))} settings, which takes a few minutes", flush=True)
    speeds = measure(settings(cores))
    lines = [f"{speed:12,.0f} records/s  {setting}" for setting, speed in speeds.items()]
    return "\n".join([*lines, f"suggestion for params.yaml: {suggest(speeds)}"])


def _trainer(setting: Setting) -> Trainer:
    torch.manual_seed(0)
    network = Blueprint("vanilla", {"latent_dim": 32}, None, None, Item((1, 28, 28), True), "bce").build()
    params = Params(batch_size=BATCH, compile=setting.compile)
    return Trainer(network.to(device()), Unit(), params, 0, setting.precision, "variants.vanilla")

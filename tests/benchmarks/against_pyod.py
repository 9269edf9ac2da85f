"""Records per second against PyOD's AutoEncoder with the same layers, optimizer and batch size.

PyOD is no dependency: the benchmark installs it into .work/bench/pyod, beside what the project has already. Only its
training is timed, not the scoring that its `fit` does besides; both learn the squared error of values in 0..1.
"""

import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.models import Blueprint
from tests.benchmarks.loops import BATCH, ITEM, THREADS, ours, precisions
from tests.benchmarks.ratios import Ratio, interleaved
from tests.benchmarks.training import VANILLA

PLACE = Path(".work/bench/pyod")
PACKAGES = ("pyod==3.6.7", "numba==0.68.1", "llvmlite==0.50.0")
RECORDS, ROUNDS, BOUND = 12_800, 5, 1.15


def install() -> None:
    """Make `import pyod` work in this process."""
    if not PLACE.exists():
        print(f"installing {', '.join(PACKAGES)} into {PLACE}", flush=True)
        command = ("uv", "pip", "install", "--quiet", "--no-deps", "--python", sys.executable, "--target", str(PLACE))
        subprocess.run([*command, *PACKAGES], check=True)
    sys.path.append(str(PLACE))


def pyods(records: np.ndarray) -> float:
    """Records per second of one epoch. Shapes: records (record, 784) float32."""
    from pyod.models.auto_encoder import AutoEncoder

    class Timed(AutoEncoder):
        """Notes how long the training alone takes."""

        seconds = 0.0

        def train(self, train_loader: Any) -> None:
            started = time.perf_counter()
            super().train(train_loader)
            self.seconds = time.perf_counter() - started

    layers = [*VANILLA["hidden"], VANILLA["latent_dim"]]
    plain = {"preprocessing": False, "batch_norm": False, "dropout_rate": 0.0, "verbose": 0}
    detector = Timed(hidden_neuron_list=layers, epoch_num=1, batch_size=BATCH, **plain).fit(records)
    return len(records) / detector.seconds


def network() -> Any:
    """The same layers with a linear output and the squared error."""
    torch.manual_seed(0)
    return Blueprint("vanilla", VANILLA, None, None, ITEM, "mse").build()


def measure() -> list[Ratio]:
    """In every precision of this machine; PyOD has float32 only."""
    install()
    torch.set_num_threads(THREADS)
    images = torch.randint(0, 256, (RECORDS, *ITEM.shape), dtype=torch.uint8)
    records = images.flatten(1).float().div(255).numpy()
    lines = []
    for precision in precisions():
        rounds = interleaved(
            ROUNDS,
            lambda precision=precision: ours(network(), images, BATCH, precision),
            partial(pyods, records),
        )
        lines.append(Ratio(f"records/s at batch {BATCH}, {precision}, against PyOD's AutoEncoder", rounds, BOUND))
    return lines

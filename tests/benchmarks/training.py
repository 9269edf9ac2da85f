"""Training throughput of vanilla 784-512-256-128-32 on 28x28 images, against the loop that tutorials teach.

Theirs: torchvision's MNIST class with ToTensor, DataLoader with 2 workers, Adam, BCE, clipping, batch 128.
Ours: components.training.trainer as the stage runs it, without its validation, which theirs does not do either.
Both use 2 threads; theirs computes in float32, ours in what `precision: auto` chooses, then in float32.
"""

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from components.data.item import Item
from components.models import Blueprint
from components.params.train import Params
from components.training.checkpoint import Checkpoints
from components.training.precision import resolve_precision
from components.training.records import InMemory
from components.training.trainer import Trainer
from tests.benchmarks.ratios import Ratio, interleaved

RECORDS, ROUNDS, THREADS = 12_800, 5, 2


class Unit(torch.nn.Module):
    """0..255 to 0..1, as the manifest's scaling does."""

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        return raw.float() * (1 / 255)


def network() -> Any:
    torch.manual_seed(0)
    params = {"latent_dim": 32, "hidden": [512, 256, 128]}
    return Blueprint("vanilla", params, None, None, Item((1, 28, 28), True), "bce").build()


def ours(images: torch.Tensor, batch_size: int, precision: str) -> float:
    """Records per second of one epoch."""
    params = Params(epochs=1, batch_size=batch_size, schedule="constant")
    trainer = Trainer(network(), Unit(), params, 0, precision, "bench")
    speeds: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints("bench", "key", Path(folder))
        train, validation = InMemory(images), InMemory(images[:256])
        trainer.fit(train, validation, checkpoints, lambda epoch: speeds.append(epoch.records_per_second))
    return speeds[0]


def theirs(root: Path) -> float:
    """Records per second of one epoch of the plain loop."""
    data = datasets.MNIST(root, train=True, transform=transforms.ToTensor())
    loader = DataLoader(data, batch_size=128, shuffle=True, num_workers=2)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5)
    started = time.perf_counter()
    total = 0.0
    for images, _ in loader:
        flat = images.view(len(images), -1)
        reconstruction, _ = model(flat)
        loss = torch.nn.functional.binary_cross_entropy(reconstruction.flatten(1), flat)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.item()
    return RECORDS / (time.perf_counter() - started)


def write_mnist(root: Path, images: np.ndarray) -> None:
    """The idx files that torchvision's MNIST class reads."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for split in ("train", "t10k"):
        head = bytes((0, 0, 8, 3)) + b"".join(size.to_bytes(4, "big") for size in images.shape)
        (folder / f"{split}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = bytes((0, 0, 8, 1)) + len(images).to_bytes(4, "big")
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(head + bytes(len(images)))


def measure() -> list[Ratio]:
    """Batch 128 and 512, in the precision that `auto` chooses on this machine, and in float32 where that is another."""
    torch.set_num_threads(THREADS)
    images = np.random.default_rng(0).integers(0, 256, (RECORDS, 28, 28), dtype=np.uint8)
    tensor = torch.from_numpy(images[:, None])
    chosen = resolve_precision("auto", torch.device("cpu"))
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        write_mnist(Path(folder), images)
        for precision in dict.fromkeys([chosen, "float32"]):
            for batch_size, bound in ((128, 3.2), (512, 5.0)):
                rounds = interleaved(
                    ROUNDS, partial(ours, tensor, batch_size, precision), partial(theirs, Path(folder))
                )
                label = f"{precision} (auto)" if precision == chosen else precision
                claim = f"records/s at batch {batch_size}, {label}, against the plain loop at batch 128 in float32"
                lines.append(Ratio(claim, rounds, bound))
    return lines

"""The two loops that benchmarks compare: this project's trainer, and what tutorials teach.

Theirs: torchvision's MNIST class with ToTensor, DataLoader with 2 workers, Adam, clipping, batch 128, float32.
Ours: components.training.trainer as the stage runs it, without its validation, which theirs does not do either.
Both run the same network on 2 threads.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from components.data.item import Item
from components.models import Autoencoder, Blueprint
from components.params.train import Params
from components.training.checkpoint import Checkpoints
from components.training.precision import resolve_precision
from components.training.records import InMemory
from components.training.trainer import Trainer

THREADS = 2
BATCH = 128
ITEM = Item((1, 28, 28), True)


class Unit(torch.nn.Module):
    """0..255 to 0..1, as the manifest's scaling does."""

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        return raw.float() * (1 / 255)


def network(model: str, **params: Any) -> Autoencoder:
    """The same weights every time; images are 28x28, the loss is cross-entropy."""
    torch.manual_seed(0)
    return Blueprint(model, params, None, None, ITEM, "bce").build()


def precisions() -> list[str]:
    """What `precision: auto` chooses on this machine, and float32 where that is another."""
    return list(dict.fromkeys([resolve_precision("auto", torch.device("cpu")), "float32"]))


def ours(model: Autoencoder, images: torch.Tensor, batch_size: int, precision: str) -> float:
    """Records per second of one epoch. Shapes: images (record, 1, 28, 28) uint8."""
    params = Params(epochs=1, batch_size=batch_size, schedule="constant")
    trainer = Trainer(model, Unit(), params, 0, precision, "bench")
    speeds: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints("bench", "key", Path(folder))
        train, validation = InMemory(images), InMemory(images[:256])
        trainer.fit(train, validation, checkpoints, lambda epoch: speeds.append(epoch.records_per_second))
    return speeds[0]


def theirs(model: Autoencoder, root: Path) -> float:
    """Records per second of one epoch of the plain loop over the files that `mnist` wrote."""
    loader = mnist_loader(root)
    optimizer = plain_optimizer(model)
    started = time.perf_counter()
    for images, _ in loader:
        plain_step(model, optimizer, images)
    return len(loader.dataset) / (time.perf_counter() - started)


def mnist_loader(root: Path) -> DataLoader:
    """Batches as torchvision makes them: image by image, in worker processes."""
    data = datasets.MNIST(root, train=True, transform=transforms.ToTensor())
    return DataLoader(data, batch_size=BATCH, shuffle=True, num_workers=2)


def plain_optimizer(model: Autoencoder) -> torch.optim.Optimizer:
    """Adam as tutorials set it."""
    return torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5)


def plain_step(model: Autoencoder, optimizer: torch.optim.Optimizer, images: torch.Tensor) -> float:
    """One step, and the loss read back, as tutorials do."""
    reconstruction, _ = model(images)
    loss = torch.nn.functional.binary_cross_entropy(reconstruction, images)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


@contextmanager
def mnist(images: np.ndarray) -> Iterator[Path]:
    """A folder with the idx files that torchvision's MNIST class reads. Shapes: images (record, 28, 28) uint8."""
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "MNIST" / "raw"
        folder.mkdir(parents=True)
        for split in ("train", "t10k"):
            head = bytes((0, 0, 8, 3)) + b"".join(size.to_bytes(4, "big") for size in images.shape)
            (folder / f"{split}-images-idx3-ubyte").write_bytes(head + images.tobytes())
            head = bytes((0, 0, 8, 1)) + len(images).to_bytes(4, "big")
            (folder / f"{split}-labels-idx1-ubyte").write_bytes(head + bytes(len(images)))
        yield Path(root)

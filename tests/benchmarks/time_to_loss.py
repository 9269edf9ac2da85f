"""Time until vanilla has the loss that the usual recipe reaches after 13 epochs on the 60,000 images of Fashion-MNIST.

Theirs: the plain loop with a learning rate that is lowered on a plateau, 13 epochs. Ours: the trainer with one_cycle,
a larger batch and learning rate. Both losses are the cross-entropy on the 10,000 test images, in float32. They show
that both have learned as much, and one thing was chosen by them: the number of our epochs, which no model of the
pipeline shares (docs/log.md). Needs Debian's package dataset-fashion-mnist.
"""

import gzip
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from components.models import Autoencoder
from components.params.train import Params
from components.training.checkpoint import Checkpoints
from components.training.records import InMemory
from components.training.trainer import Trainer
from tests.benchmarks.loops import THREADS, Unit, mnist, mnist_loader, network, plain_optimizer, plain_step, precisions
from tests.benchmarks.ratios import Ratio
from tests.benchmarks.training import VANILLA

FOLDER = Path("/usr/share/datasets/fashion-mnist")
EPOCHS = 13
RECIPE = Params(epochs=16, batch_size=256, learning_rate=3e-3, schedule="one_cycle", precision="auto")


def read(name: str) -> np.ndarray:
    """Images (record, 28, 28) uint8."""
    with gzip.open(FOLDER / f"{name}-images-idx3-ubyte.gz") as stream:
        return np.frombuffer(stream.read(), np.uint8, offset=16).reshape(-1, 28, 28)


@torch.no_grad()
def loss_of(model: Autoencoder, images: np.ndarray) -> float:
    """Cross-entropy per value."""
    model.eval()
    batches = Unit()(torch.from_numpy(images.copy())[:, None]).split(1000)
    return float(torch.stack([model.objective(batch)["reconstruction"].mean() for batch in batches]).mean())


def theirs(train: np.ndarray, test: np.ndarray) -> tuple[float, float]:
    """Seconds and loss of the recipe; its look at a held-out set for the schedule is not counted."""
    model = network("vanilla", **VANILLA)
    optimizer = plain_optimizer(model)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=5)
    spent = 0.0
    with mnist(train) as root:
        for _ in range(EPOCHS):
            started = time.perf_counter()
            model.train()
            losses = [plain_step(model, optimizer, images) for images, _ in mnist_loader(root)]
            schedule.step(float(np.mean(losses)))
            spent += time.perf_counter() - started
    return spent, loss_of(model, test)


def ours(train: np.ndarray, test: np.ndarray) -> tuple[float, float]:
    """Seconds and loss, validation and checkpoints included."""
    model = network("vanilla", **VANILLA)
    trainer = Trainer(model, Unit(), RECIPE, 0, precisions()[0], "bench")
    images = torch.from_numpy(train.copy())[:, None]
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints("bench", "key", Path(folder))
        trainer.fit(InMemory(images), InMemory(images[:2000]), checkpoints, lambda _: None)
    return time.perf_counter() - started, loss_of(model, test)


def measure() -> list[Ratio]:
    """One round: theirs takes minutes. Ours runs before and behind it, and the mean counts."""
    torch.set_num_threads(THREADS)
    train, test = read("train"), read("t10k")
    before, (spent, goal), behind = ours(train, test), theirs(train, test), ours(train, test)
    print(f"loss after {EPOCHS} epochs of the recipe {goal:.5f}; ours {before[1]:.5f} after {RECIPE.epochs}")
    share = (before[0] + behind[0]) / 2 / spent
    return [
        Ratio("loss, relative to the recipe's", (before[1] / goal,), 1.0, at_least=False),
        Ratio("time to that loss, relative to the recipe's", (share,), 0.3, at_least=False),
    ]

"""Training on a split that is read in shuffled blocks: what an epoch holds, how it mixes, and that it repeats.

References: the records' own numbers, the in-memory way, an undisturbed run for the resumed one.
"""

import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.data.item import Item
from components.models import Blueprint
from components.params.train import Params
from components.training.checkpoint import Checkpoints
from components.training.records import Blocks, InMemory
from components.training.trainer import Trainer

COUNT, WIDTH = 1003, 16
"""Records of 16 bytes; neither blocks, windows nor batches divide their number."""
MEMORY = 2 * 64 * 2 * WIDTH
"""Two windows of 64 blocks of 2 records: 128 records, or four batches of 32, in each."""
CPU = torch.device("cpu")


def numbered(count: int = COUNT) -> np.ndarray:
    """Records (count, 16) uint8 that hold their own number in their first four bytes."""
    records = np.zeros((count, WIDTH), np.uint8)
    records[:, :4] = np.arange(count, dtype="<u4").view(np.uint8).reshape(-1, 4)
    return records


def numbers(batches: Any) -> list[np.ndarray]:
    """The numbers of the records in each batch."""
    return [np.ascontiguousarray(batch.numpy()[:, :4]).view("<u4")[:, 0] for batch in batches]


def epoch(records: Blocks | InMemory, seed: int, size: int = 32) -> list[np.ndarray]:
    torch.manual_seed(seed)
    return numbers(records.shuffled(size))


class Slow(Blocks):
    """A disk with moods: each window takes another while to read."""

    def _read(self, pieces: list[slice]) -> torch.Tensor:
        time.sleep(0.004 * (pieces[0].start % 3) if pieces else 0)
        return super()._read(pieces)


def test_an_epoch_holds_every_record_once_in_whole_batches() -> None:
    found = epoch(Blocks(numbered(), MEMORY, CPU), seed=1)
    assert sorted(np.concatenate(found)) == list(range(COUNT))
    assert [len(batch) for batch in found] == [32] * 31 + [11]


def test_epochs_differ_and_a_seed_repeats_its_own_whatever_the_pace_of_the_reader() -> None:
    first, other = (np.concatenate(epoch(Blocks(numbered(), MEMORY, CPU), seed)) for seed in (1, 2))
    assert (first != other).mean() > 0.9
    assert (np.concatenate(epoch(Slow(numbered(), MEMORY, CPU), 1)) == first).all()


def test_batches_mix_records_from_all_over_the_file() -> None:
    records = Blocks(numbered(), MEMORY, CPU)
    assert records.block == 2
    for batch in epoch(records, seed=1)[:-1]:
        # 32 records of 128 that come from 64 random places: in a sorted file a batch would span 32 of 1003
        assert np.ptp(batch) > COUNT / 2
        assert len(set(batch // records.block)) > 16


def test_what_the_model_draws_between_batches_moves_no_record() -> None:
    expected, found = epoch(Blocks(numbered(), MEMORY, CPU), seed=1), []
    torch.manual_seed(1)
    for batch in Blocks(numbered(), MEMORY, CPU).shuffled(32):
        found += numbers([batch])
        torch.rand(5)
    assert all((a == b).all() for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("memory", [1, 10 * COUNT * WIDTH])
def test_a_window_holds_at_least_a_batch_and_at_most_the_split(memory: int) -> None:
    assert sorted(np.concatenate(epoch(Blocks(numbered(), memory, CPU), seed=1))) == list(range(COUNT))


def test_no_more_than_two_windows_are_held() -> None:
    held: list[int] = []
    windows: list[weakref.ref[torch.Tensor]] = []

    class Counting(Blocks):
        """Notes how many records are alive when another window is about to be read."""

        def _read(self, pieces: list[slice]) -> torch.Tensor:
            window = super()._read(pieces)
            windows.append(weakref.ref(window))
            held.append(sum(len(alive) for ref in windows if (alive := ref()) is not None))
            return window

    epoch(Counting(numbered(), MEMORY, CPU), seed=1)
    assert max(held) <= 2 * 128


def test_in_order_is_in_order() -> None:
    for records in (Blocks(numbered(), MEMORY, CPU), InMemory(torch.from_numpy(numbered()))):
        found = numbers(records.in_order(100))
        assert (np.concatenate(found) == np.arange(COUNT)).all()
        assert len(found[0]) == 100


def trainer(**params: Any) -> Trainer:
    torch.manual_seed(0)
    network = Blueprint("denoising", {"latent_dim": 4}, "vanilla", {"latent_dim": 4}, Item((WIDTH,), False), "mse")
    settings = Params(**{"epochs": 4, "batch_size": 32, "learning_rate": 3e-3, **params})
    return Trainer(network.build(), Halved(), settings, seed=3, precision="float32", where="variants.x")


class Halved(torch.nn.Module):
    """0..255 to -0.5..0.5; stands for the manifest's scaling."""

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        return raw.float() / 255 - 0.5


def fit(subject: Trainer, folder: Path, log: Callable[..., None] = lambda _: None, kind: type[Blocks] = Blocks) -> Any:
    data = np.random.default_rng(0).integers(0, 256, (600, WIDTH), dtype=np.uint8)
    train, validation = kind(data[:500], MEMORY, CPU), Blocks(data[500:], MEMORY, CPU)
    return subject.fit(train, validation, Checkpoints("x", "key", folder), log)


def test_a_run_in_blocks_broken_off_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    undisturbed = trainer()
    expected = fit(undisturbed, tmp_path / "a")

    def break_off(epoch: Any) -> None:
        if epoch.row["epoch"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(trainer(), tmp_path / "b", break_off)
    resumed = trainer()
    assert fit(resumed, tmp_path / "b", kind=Slow).history == expected.history
    for name, tensor in resumed.network.state_dict().items():
        assert torch.equal(tensor, undisturbed.network.state_dict()[name]), name


def test_an_error_in_a_step_leaves_no_thread_behind() -> None:
    batches = Blocks(numbered(), MEMORY, CPU).shuffled(32)
    next(batches)
    batches.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("reader")]

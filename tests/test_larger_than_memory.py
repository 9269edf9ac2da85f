"""Splits that do not fit in memory: PCA without a covariance, shares of a split that stand for it, and memory itself.

References: scikit-learn's full PCA, and what the kernel says about a process (RssAnon; pages of mapped files are the
kernel's to drop and do not count).
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, must
from fabricated import by_squared_error
from sklearn import decomposition

from components.data.batches import VALUES, batch_of, raw_batches
from components.data.item import Item
from components.exporting import parity
from components.layers import principal
from components.models import pca
from components.reporting import pictures
from components.scoring.conformal import Calibration
from components.scoring.judged import Judged
from components.scoring.score import reconstruct, score_records


@pytest.mark.parametrize("latent_dim", [1, 8, 24])
def test_pca_of_wide_records_is_scikit_learns(monkeypatch: pytest.MonkeyPatch, latent_dim: int) -> None:
    monkeypatch.setattr(principal, "WIDEST_COVARIANCE", 100)
    generator = np.random.default_rng(0)
    spread = 1 / np.sqrt(1 + np.arange(200))  # variances that fall as slowly as those of pictures
    x = (generator.normal(size=(2000, 200)) * spread) @ np.linalg.qr(generator.normal(size=(200, 200)))[0] + 3
    batches = torch.from_numpy(x).float().split(64)
    models = [pca.PCA(Item((200,), False), pca.Params(latent_dim=latent_dim)) for _ in range(2)]
    for model in models:
        model.fit(batches)
    assert torch.equal(models[0].components, models[1].components)
    reference = decomposition.PCA(latent_dim, svd_solver="full").fit(x)
    least = np.square(reference.inverse_transform(reference.transform(x)) - x).mean()
    found = np.square(models[0](torch.from_numpy(x).float())[0].numpy() - x).mean()
    assert found == pytest.approx(least, rel=1e-3)
    assert np.allclose(models[0].mean, x.mean(0), atol=1e-5)
    gram = models[0].components @ models[0].components.T
    assert torch.allclose(gram, torch.eye(latent_dim), atol=1e-5)
    with pytest.raises(ValueError, match=f"needs more than {latent_dim} training records"):
        models[0].fit([torch.rand(latent_dim, 200)])


def test_a_batch_of_wide_records_holds_fewer() -> None:
    assert batch_of((1, 28, 28), 1024) == 1024
    assert batch_of((3, 64, 64), 1024) == VALUES // (3 * 64 * 64)
    assert batch_of((3, 4096, 4096), 1024) == 1
    assert [len(batch) for batch in raw_batches(np.zeros((1500, 2)), np.arange(1100))] == [1024, 76]
    assert [len(batch) for batch in raw_batches(np.zeros((0, 2)))] == [0]


def test_codes_of_a_large_split_are_drawn_from_an_even_share_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    records = np.random.default_rng(0).normal(size=(90, 5)).astype(np.float32)
    model, raw = pca.PCA(Item((5,), False), pca.Params(latent_dim=2)), torch.nn.Identity()
    model.fit([torch.from_numpy(records)])
    scores = score_records(model, raw, records)
    detector, calibration = by_squared_error(model), Calibration.fit(scores, 0.05)
    judged = Judged(detector, raw, calibration, records, [""] * 90, np.zeros(90, bool), scores)
    seen: list[int] = []

    def spy(*args: Any) -> Any:
        seen.extend(args[3])
        return reconstruct(*args)

    monkeypatch.setattr(pictures, "reconstruct", spy)
    monkeypatch.setattr(pictures, "_MOST_CODES", 40)
    pictures._codes(judged)
    assert seen == list(range(0, 90, 3))


def test_of_a_large_split_every_record_is_proven_and_a_share_at_every_batch_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parity, "EVERY", 2)
    calibration = Calibration.fit(np.arange(1, 41, dtype=np.float32), 0.05)
    seen: Counter[int] = Counter()

    def model(records: np.ndarray) -> parity.Values:
        score = records[:, 0]
        p_value = calibration.p_values(score).astype(np.float32)
        alarm = calibration.alarms(score)
        return {"reconstruction": records, "code": records, "score": score, "p_value": p_value, "is_anomaly": alarm}

    def file(records: np.ndarray) -> parity.Values:
        seen[len(records)] += len(records)
        return model(records)

    records = np.random.default_rng(0).uniform(1, 40, (5 * parity.CHUNK, 3)).astype(np.float32)
    parts = np.split(records, 5)
    report = parity.prove(model, {"scorer": file}, model, zip(parts, parts, strict=True), calibration)
    assert report["records"] == seen[64] == 5 * parity.CHUNK
    assert report["records_in_all_batches"] == seen[1] == seen[7] == 4 * parity.CHUNK  # chunks 0, 1, 2 and 4


STAGE = """
import sys, threading, time
from pathlib import Path

sys.path.insert(0, {root!r})
import numpy as np, torch
from components.data.item import Item
from components.models import Blueprint
from components.params.train import Params
from components.scoring.score import score_records
from components.training.checkpoint import Checkpoints
from components.training.records import Blocks
from components.training.trainer import Trainer

class Unit(torch.nn.Module):
    def forward(self, raw):
        return raw.float() * (1 / 255)

def anonymous():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon")) / 1024

def watch():
    global peak
    while not done:
        peak = max(peak, anonymous())
        time.sleep(0.01)

torch.set_num_threads(1)
records = np.load("train.npy", mmap_mode="r")
size = {{"latent_dim": 4, "hidden": [8]}}
network = Blueprint("vanilla", size, None, None, Item(records.shape[1:], True), "mse").build()
trainer = Trainer(network, Unit(), Params(epochs=1, batch_size=512), 0, "float32", "variants.x")
few, all = (Blocks(part, 16 << 20, torch.device("cpu")) for part in (records[:2000], records))
trainer.fit(few, few, Checkpoints("x", "warm-up", Path(".")), lambda _: None)

before, peak, done = anonymous(), 0, False
thread = threading.Thread(target=watch)
thread.start()
trainer.fit(all, few, Checkpoints("x", "key", Path(".")), lambda _: None)
score_records(network, Unit(), records)
done = True
thread.join()
print(peak - before)
"""


def test_training_on_150_mb_and_scoring_them_takes_a_fraction_of_it(tmp_path: Path) -> None:
    shape = (150_000, 1, 32, 32)
    records = np.lib.format.open_memmap(tmp_path / "train.npy", "w+", np.uint8, shape)
    records[:] = np.random.default_rng(0).integers(0, 256, (1, 1, 32, 32), dtype=np.uint8)
    records.flush()
    code = STAGE.format(root=str(ROOT))
    growth = float(must(sys.executable, "-c", code, cwd=tmp_path))
    assert growth < 100  # MiB: windows of 16, batches of 1024 in float32 and what their layers make of them

"""Training learns, repeats itself exactly, survives kill -9, and refuses to go on with nonsense.

References: an undisturbed run for the resumed one, torch's OneCycleLR for the schedule, an untrained network.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import edit_params, environment, must, run

from components.data.item import Item
from components.models import Blueprint, find, known
from components.params.train import Params
from components.runtime.errors import UserError
from components.runtime.outputs import read_json
from components.training import precision
from components.training.checkpoint import Checkpoints
from components.training.fitting import run_key
from components.training.records import InMemory
from components.training.schedules import SCHEDULES, Now
from components.training.trainer import Trainer, add_sums
from components.training.weights import load_model, load_pca, load_untrained


def blobs(count: int = 200) -> torch.Tensor:
    """Images with a bright square at one of nine places: easy to learn, impossible to guess."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 30, (count, 1, 8, 8), dtype=np.uint8)
    for image, (row, column) in zip(images, generator.integers(0, 3, (count, 2)), strict=True):
        image[0, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3] = 255
    return torch.from_numpy(images)


class Unit(torch.nn.Module):
    """0..255 to 0..1; stands for the manifest's scaling."""

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        return raw.float() / 255


def trainer(model: str = "vanilla", **params: Any) -> Trainer:
    torch.manual_seed(0)
    base = find(model).default_base
    size = {"latent_dim": 4}
    network = Blueprint(model, size, base, size if base else None, Item((1, 8, 8), True), "bce").build()
    settings = Params(**{"epochs": 4, "batch_size": 32, "learning_rate": 3e-3, **params})
    return Trainer(network, Unit(), settings, seed=3, precision="float32", where="variants.x")


def fit(subject: Trainer, folder: Path, log: Callable[..., None] = lambda _: None) -> Any:
    data = blobs()
    return subject.fit(InMemory(data[:160]), InMemory(data[160:]), Checkpoints("x", "key", folder), log)


@pytest.mark.parametrize("model", [name for name in known() if not find(name).closed_form])
def test_training_moves_every_weight_and_beats_the_untrained_network(model: str, tmp_path: Path) -> None:
    subject = trainer(model, epochs=30)
    before = {name: tensor.clone() for name, tensor in subject.network.named_parameters()}
    history = fit(subject, tmp_path).history
    assert history[-1]["validation_loss"] < 0.8 * history[0]["validation_loss"]
    for name, tensor in subject.network.named_parameters():
        assert not torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("model", ["vanilla", "denoising", "conv"])
def test_a_run_broken_off_goes_on_to_the_same_weights(model: str, tmp_path: Path) -> None:
    undisturbed = trainer(model)
    expected = fit(undisturbed, tmp_path / "a")

    def break_off(epoch: Any) -> None:
        if epoch.row["epoch"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(trainer(model), tmp_path / "b", break_off)
    resumed = trainer(model)
    seen: list[float] = []
    result = fit(resumed, tmp_path / "b", lambda epoch: seen.append(epoch.row["epoch"]))
    assert seen == [2.0, 3.0]
    assert result.history == expected.history
    for name, tensor in resumed.network.state_dict().items():
        assert torch.equal(tensor, undisturbed.network.state_dict()[name]), name


@pytest.mark.parametrize("spoil", [lambda b: b[:-1], lambda b: b[:99] + b"\0" + b[100:], lambda b: b""])
def test_a_damaged_checkpoint_is_told_and_never_trained_on(
    spoil: Callable[[bytes], bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(trainer(epochs=1), tmp_path)
    checkpoints = Checkpoints("x", "key", tmp_path)
    content = checkpoints.path.read_bytes()
    checkpoints.path.write_bytes(spoil(content))
    if spoil(content) != content:
        assert checkpoints.load() is None
        assert capsys.readouterr().out.endswith("the checkpoint is damaged, training starts from the beginning\n")


def test_the_best_epoch_is_kept_and_patience_ends_a_run(tmp_path: Path) -> None:
    subject = trainer(epochs=200, learning_rate=0.05, schedule="constant", patience=3)
    progress = fit(subject, tmp_path)
    losses = [row["validation_loss"] for row in progress.history]
    assert len(losses) < 200
    assert len(losses) - 1 - progress.best_epoch == 3
    assert min(losses) == losses[progress.best_epoch]
    with torch.no_grad():
        kept = subject.network.eval().objective(Unit()(blobs()[160:]))["reconstruction"].mean()
    assert float(kept) == pytest.approx(min(losses), rel=1e-5)


def test_divergence_is_an_error_that_names_the_learning_rate(tmp_path: Path) -> None:
    class Broken(Unit):
        """A scaling that yields NaN, as overflowing weights would."""

        def forward(self, raw: torch.Tensor) -> torch.Tensor:
            return super().forward(raw) * float("nan")

    subject = trainer()
    subject.scale = Broken()
    with pytest.raises(UserError, match=r"variants\.x: training diverged in epoch 0 .* lower learning_rate"):
        fit(subject, tmp_path)


def test_a_ragged_last_batch_weighs_its_records_equally() -> None:
    sums: dict[str, torch.Tensor] = {}
    values = torch.arange(10, dtype=torch.float32)
    for part in values.split(4):
        add_sums(sums, {"term": part})
    assert float(sums["term"]) / 10 == float(values.mean())


def test_one_cycle_is_torchs() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=1001)
    for step in range(1000):
        expected = optimizer.param_groups[0]["lr"]
        assert SCHEDULES["one_cycle"](Now(step / 1000, Params())) == pytest.approx(expected, abs=5e-3)
        optimizer.step()
        reference.step()


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "float32")])
def test_auto_precision_asks_for_a_capability(monkeypatch: pytest.MonkeyPatch, native: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native})
    assert precision.resolve_precision("auto", torch.device("cpu")) == expected
    assert precision.resolve_precision("float32", torch.device("cpu")) == "float32"


def test_bf16_trains_weights_of_float32(tmp_path: Path) -> None:
    subject = trainer(epochs=10)
    subject.autocast = lambda: torch.autocast("cpu", torch.bfloat16)
    history = fit(subject, tmp_path).history
    assert history[-1]["validation_loss"] < history[0]["validation_loss"]
    assert all(tensor.dtype == torch.float32 for tensor in subject.network.state_dict().values())


def test_the_stage_leaves_what_later_stages_read(finished: Path) -> None:
    for variant in ("pca", "vanilla"):
        folder = finished / "artifacts" / "train" / variant
        names = {"model.safetensors", "pca.safetensors", "config.json", "history.csv", "fit.json", "diagnosis.json",
                 "validation_errors.npy"}  # fmt: skip
        assert {path.name for path in folder.iterdir()} == names
        assert load_model(folder)(torch.rand(3, 1, 8, 8))[1].shape == (3, 8)
        assert load_pca(folder)(torch.rand(3, 1, 8, 8))[1].shape == (3, 8)
    history = pd.read_csv(finished / "artifacts/train/vanilla/history.csv")
    assert {"epoch", "learning_rate", "gradient_norm", "train_loss", "validation_loss"} <= set(history)
    assert load_untrained(finished / "artifacts/train/pca") is None
    fit_json = read_json(finished / "artifacts/train/vanilla/fit.json", "train@vanilla")
    assert fit_json["weight_change"] > 0.05
    assert fit_json["validation_mse"] < 0.5 * fit_json["untrained_validation_mse"]
    assert fit_json["validation_mse_ratio_to_pca_low"] < fit_json["validation_mse_ratio_to_pca"]


def test_killed_with_signal_9_and_started_again_it_leaves_the_same_bytes(checkout: Path) -> None:
    folder = checkout / "artifacts/train/vanilla"
    expected = {path.name: path.read_bytes() for path in folder.iterdir()}
    must("rm", "-r", str(folder), cwd=checkout)
    command = [sys.executable, "-m", "components.train", "vanilla"]
    child = subprocess.Popen(command, cwd=checkout, env=environment(), stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if "epoch 20/" in line:
            os.kill(child.pid, signal.SIGKILL)
            break
    child.wait()
    child.stdout.close()
    assert not folder.exists()
    assert list((checkout / ".work/train/vanilla").rglob("checkpoint"))
    output = must(*command, cwd=checkout)
    assert "epoch 1/" not in output
    assert "epoch 60/60" in output
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == expected
    assert not (checkout / ".work/train/vanilla").exists()


@pytest.mark.parametrize(
    "edited", ["models/__init__.py", "training/__init__.py", "data/scaling.py", "scoring/score.py"]
)
def test_a_checkpoint_of_other_code_is_never_resumed(
    checkout: Path, in_directory: Callable[[Path], None], edited: str
) -> None:
    in_directory(checkout)
    before = run_key({"variant": "vanilla"}, {})
    with Path("components", edited).open("a") as stream:
        stream.write("# edited\n")
    assert run_key({"variant": "vanilla"}, {}) != before


def test_a_whitened_pca_stands_beside_the_plain_one(checkout: Path) -> None:
    edit_params(checkout, variants={"white": {"model": "pca", "latent_dim": 8, "whiten": True}})
    for command in (["resolve"], ["train", "white"]):
        must(sys.executable, "-m", f"components.{command[0]}", *command[1:], cwd=checkout)
    folder, x = checkout / "artifacts/train/white", torch.rand(5, 1, 8, 8)
    whitened, plain = load_model(folder), load_pca(folder)
    assert not torch.allclose(whitened.encode(x), plain.encode(x), atol=0.1)
    assert torch.allclose(whitened(x)[0], plain(x)[0], atol=1e-4)


@pytest.mark.parametrize(
    ("env", "variant", "message"),
    [
        ({"HOURGLASS_DEVICE": "cuda"}, "vanilla", "error: HOURGLASS_DEVICE: asks for 'cuda' and 0 GPUs are visible"),
        (
            {"HOURGLASS_DEVICE": "tpu"},
            "vanilla",
            "error: HOURGLASS_DEVICE: unknown device 'tpu'; use auto, cpu or cuda",
        ),
        ({}, "vanila", "error: variants: unknown variant 'vanila'; did you mean 'vanilla'? known: pca, vanilla"),
    ],
)
def test_a_users_mistake_is_one_line(finished: Path, env: dict[str, str], variant: str, message: str) -> None:
    if env.get("HOURGLASS_DEVICE") == "cuda" and torch.cuda.is_available():
        env = {**env, "CUDA_VISIBLE_DEVICES": ""}
    done = run(sys.executable, "-m", "components.train", variant, cwd=finished, **env)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_a_code_as_large_as_the_record_is_refused_with_the_records_size(checkout: Path) -> None:
    edit_params(checkout, variants={"big": {"model": "vanilla", "latent_dim": 64}})
    must(sys.executable, "-m", "components.resolve", cwd=checkout)
    done = run(sys.executable, "-m", "components.train", "big", cwd=checkout)
    assert done.returncode == 2
    expected = "error: variants.big.latent_dim: must be between 1 and 63 (records have 64 values), got 64"
    assert done.stderr.startswith(expected)
    assert not (checkout / "artifacts/train/big").exists()

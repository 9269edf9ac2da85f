"""Probes suggest a usable learning rate and the plainest fast setting, and leave nothing in artifacts/.

References: a quadratic whose steepest fall is known by its shape, made-up timings, a real training.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from test_train import blobs, fit, trainer

from components.probing import machine
from components.probing.learning_rate import HIGHEST, LOWEST, Sweep, probe, sweep
from components.probing.machine import Setting, settings, suggest


def test_the_suggestion_is_where_the_loss_falls_fastest() -> None:
    rates = np.geomspace(1e-6, 1, 200)
    losses = 1 / (1 + (rates / 1e-3) ** 2) + 10 * np.maximum(rates - 0.1, 0)
    found = Sweep(rates, losses, losses)
    # against the logarithm of the rate this sigmoid is steepest at its middle
    assert found.suggestion == pytest.approx(1e-3, rel=0.1)


def test_a_loss_that_never_falls_suggests_nothing() -> None:
    rates = np.geomspace(1e-6, 1, 50)
    assert Sweep(rates, rates, rates).suggestion is None


def test_a_training_at_the_suggestion_learns(tmp_path: Path) -> None:
    data = blobs()
    found = sweep(trainer(), data)
    again = sweep(trainer(), data)
    assert LOWEST < found.suggestion < HIGHEST / 3
    assert np.array_equal(found.losses, again.losses)
    at, far_below = (
        fit(trainer(epochs=10, learning_rate=rate), tmp_path / name).best_loss
        for name, rate in (("at", found.suggestion), ("below", found.suggestion / 100))
    )
    assert at < far_below


def test_the_probe_leaves_a_table_and_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = probe(trainer("conv"), blobs(), Path(".work/probe/x"))
    lines = Path(".work/probe/x/rates.csv").read_text().splitlines()
    assert lines[0] == "learning_rate,loss,smoothed_loss"
    assert len(lines) == len(found.rates) + 1
    assert f"falls fastest at {found.suggestion:.2g}" in Path(".work/probe/x/rates.svg").read_text()
    assert not Path("artifacts").exists()


def test_the_plainest_setting_wins_unless_another_is_a_tenth_faster() -> None:
    plain, half, compiled = Setting("float32", False, 1), Setting("bf16", False, 1), Setting("float32", True, 1)
    assert suggest({plain: 100.0, half: 109.0, compiled: 50.0}) == plain
    assert suggest({plain: 100.0, half: 150.0, compiled: 155.0}) == half
    assert str(compiled) == "precision: float32, compile: true, threads: 1"
    assert settings(1)[0] == plain
    assert len(set(settings(8))) == len(settings(8))


def test_settings_are_measured_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "ROUNDS", 1)
    threads = torch.get_num_threads()
    speeds = machine.measure([Setting("float32", False, 1), Setting("bf16", False, 1)], records=256)
    torch.set_num_threads(threads)
    assert all(speed > 0 for speed in speeds.values())

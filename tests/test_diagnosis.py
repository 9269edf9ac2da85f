"""Each sign of the doctor is provoked by the fault it is named for, and a healthy model is left in peace.

References: a small network well trained on digits, the same made ill in one respect, closed forms of each number. The
signs on test records are tested where they are written, in test_evaluate.py.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fabricated import fabricate, metrics
from sklearn.datasets import load_digits
from test_train import Unit, blobs
from torch import nn

from components.comparing.candidates import load_candidates
from components.data.item import Item
from components.diagnosing import Finding, diagnose, learning, observed
from components.diagnosing.learning import Learning
from components.diagnosing.observed import Observed, observe, shuffle
from components.models import Autoencoder, Blueprint
from components.models.pca import PCA
from components.models.pca import Params as PcaParams
from components.params.train import Params
from components.runtime.outputs import write_json
from components.training.checkpoint import Checkpoints
from components.training.records import InMemory
from components.training.trainer import Row, Trainer

IMAGE = Item((1, 8, 8), True)
DIGITS = (load_digits().images[:900, None] * 15.9375).astype(np.uint8)
TRAIN, VALIDATION = DIGITS[:700], DIGITS[700:]


def trained(folder: Path, train: np.ndarray = TRAIN, **params: Any) -> tuple[Autoencoder, list[Row]]:
    """A network trained on digits, and its history."""
    torch.manual_seed(0)
    network = Blueprint("vanilla", {"latent_dim": 8, "hidden": [128]}, None, None, IMAGE, "bce").build()
    settings = Params(**{"epochs": 60, "learning_rate": 0.003, "batch_size": 64, "schedule": "one_cycle", **params})
    progress = Trainer(network, Unit(), settings, 3, "float32", "variants.x").fit(
        InMemory(torch.from_numpy(train)),
        InMemory(torch.from_numpy(VALIDATION)),
        Checkpoints("x", "key", folder),
        lambda _: None,
    )
    return network, progress.history


@torch.no_grad()
def distance(weights: Autoencoder, initial: Autoencoder) -> float:
    """Of all weights from where they started, relative to their norm there."""
    ours, theirs = (nn.utils.parameters_to_vector(network.parameters()) for network in (weights, initial))
    return float((ours - theirs).norm() / theirs.norm())


def learned(folder: Path, train: np.ndarray = TRAIN, **params: Any) -> Learning:
    """What the checks of the history see of a training."""
    network, history = trained(folder, train, **params)
    torch.manual_seed(0)
    before = Blueprint("vanilla", {"latent_dim": 8, "hidden": [128]}, None, None, IMAGE, "bce").build()
    errors = [observe(network, Unit(), records, None, 0).mse for records in (VALIDATION, train)]
    fit = {"weight_change": distance(network, before), "validation_mse": errors[0], "training_mse": errors[1]}
    return Learning({name: np.array([row[name] for row in history]) for name in history[0]}, fit, {})


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> tuple[Learning, Observed]:
    """A healthy training and what its network makes of validation."""
    folder = tmp_path_factory.mktemp("well")
    network, _ = trained(folder / "a")
    return learned(folder / "b"), observe(network, Unit(), VALIDATION, (0.5, 0.7), 0)


def verdict(findings: list[Finding], code: str) -> str:
    return next(finding.verdict for finding in findings if finding.code == code)


def test_a_healthy_model_is_left_in_peace(well: tuple[Learning, Observed]) -> None:
    found = [*diagnose(learning.CHECKS, well[0]), *diagnose(observed.CHECKS, well[1])]
    assert {finding.code: finding.verdict for finding in found if finding.verdict != "ok"} == {
        "exploding_penalty": "not_applicable"  # it has no penalty
    }
    assert len({finding.code for finding in found}) == len(found)
    assert all(finding.title and finding.remedy for finding in found)


ILL_TRAININGS: list[tuple[str, dict[str, Any]]] = [
    ("no_convergence", {"epochs": 6, "schedule": "constant", "learning_rate": 0.0005}),
    ("learning_rate_high", {"epochs": 30, "schedule": "constant", "optimizer": "sgd", "learning_rate": 9.0}),
    ("learning_rate_high", {"epochs": 30, "schedule": "constant", "learning_rate": 0.3}),
    ("learning_rate_high", {"epochs": 30, "schedule": "constant", "learning_rate": 1.0}),
    ("learning_rate_low", {"epochs": 20, "schedule": "constant", "learning_rate": 1e-6}),
    ("validation_gap", {"train": TRAIN[:24], "epochs": 300}),
]  # fmt: skip


@pytest.mark.parametrize(("code", "params"), ILL_TRAININGS, ids=lambda value: str(value)[:60])
def test_an_ill_training_shows_its_sign(code: str, params: dict[str, Any], tmp_path: Path) -> None:
    assert verdict(diagnose(learning.CHECKS, learned(tmp_path, **params)), code) in ("warning", "problem")


def with_history(**columns: list[float]) -> Callable[[Learning], Learning]:
    return lambda found: replace(found, history={name: np.array(column) for name, column in columns.items()})


FALLING = [1.0, 0.5, 0.3, 0.2, 0.2]


@pytest.mark.parametrize(
    ("code", "expected", "value", "doctored"),
    [
        ("no_convergence", "problem", 0.5, with_history(validation_loss=[2.0, 1.8, 1.5, 1.0])),
        ("no_convergence", "problem", 1.0, with_history(validation_loss=[1.0, 2.0, 1.5, 1.7])),
        ("no_convergence", "not_applicable", None, with_history(validation_loss=[2.0, 1.0])),
        ("learning_rate_high", "warning", 0.5, with_history(train_loss=[1.0, 0.5, 0.7, 0.0, 0.3])),
        ("learning_rate_high", "problem", 1e3, with_history(train_loss=[1.0, 2.0, 3.0])),
        ("learning_rate_high", "ok", 0.0, with_history(train_loss=[1.0, 1.0, 1.0])),
        ("exploding_gradient", "warning", 20.0, with_history(gradient_norm=[1.0, 20.0, 1.0])),
        ("exploding_gradient", "problem", 300.0, with_history(gradient_norm=[1.0, 20.0, 300.0])),
        ("exploding_penalty", "problem", 0.95, with_history(
            validation_loss=FALLING, validation_reconstruction=[1.0, 0.5], validation_penalty=[1.0, 9.5])),
        ("exploding_penalty", "ok", 0.25, with_history(
            validation_loss=FALLING, validation_reconstruction=[1.0, 3.0], validation_penalty=[1.0, -1.0])),
        ("validation_gap", "problem", 5.0, lambda found: replace(
            found, fit={**found.fit, "validation_mse": 0.5, "training_mse": 0.1})),
    ],
)  # fmt: skip
def test_numbers_of_a_history_are_their_definition(
    well: tuple[Learning, Observed],
    code: str,
    expected: str,
    value: float | None,
    doctored: Callable[[Learning], Learning],
) -> None:
    (check,) = [check for check in learning.CHECKS if check.code == code]
    (finding,) = diagnose([check], doctored(well[0]))
    assert (finding.verdict, finding.value) == (expected, value if value is None else pytest.approx(value))


def test_term_weights_count_in_the_penaltys_share(well: tuple[Learning, Observed]) -> None:
    history = {"validation_loss": FALLING, "validation_reconstruction": [1.0], "validation_penalty": [100.0]}
    weighed = Learning({name: np.array(column) for name, column in history.items()}, {}, {"penalty": 0.01})
    assert learning.exploding_penalty(weighed).value == pytest.approx(0.5)


class Ill(PCA):
    """PCA of digits with one fault in its code: enough of a model for the checks to look at."""

    def __init__(self, latent_dim: int, fault: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__(IMAGE, PcaParams(latent_dim=latent_dim))
        self.fit(torch.from_numpy(TRAIN).float().div(255).split(100))
        self.fault = fault

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.fault(super().encode(x))


class Blurred(PCA):
    """Reconstructs every pixel as the mean of its neighbourhood."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return nn.functional.avg_pool2d(x, 3, 1, 1), self.encode(x)


def silent(code: torch.Tensor) -> torch.Tensor:
    return code * (torch.arange(len(code))[:, None] % 2)


def one_direction(code: torch.Tensor) -> torch.Tensor:
    return code[:, :1] + 1e-2 * code


ILL_MODELS: list[tuple[str, Autoencoder]] = [
    ("not_finite", Ill(8, lambda code: code / 0)),
    ("constant_output", Ill(8, lambda code: code * 0.01)),
    ("blurry", Blurred(IMAGE, PcaParams(latent_dim=8))),
    ("blurry", Ill(1, lambda code: code)),
    ("dead_code", Ill(8, lambda code: code * (torch.arange(8) < 3))),
    ("collapsed_code", Ill(8, one_direction)),
    ("too_sparse", Ill(8, silent)),
    ("bottleneck_large", Ill(64, lambda code: code)),
    ("bottleneck_small", Ill(1, lambda code: code)),
]


@pytest.mark.parametrize(("code", "model"), ILL_MODELS, ids=lambda value: str(value)[:30])
def test_an_ill_model_shows_its_sign(code: str, model: Autoencoder) -> None:
    seen = observe(model, Unit(), VALIDATION, (0.98, 1.02), 0)
    assert verdict(diagnose(observed.CHECKS, seen), code) in ("warning", "problem")


def test_a_number_that_is_none_decides_nothing() -> None:
    found = diagnose(observed.CHECKS, observe(Ill(8, lambda code: code / 0), Unit(), VALIDATION, None, 0))
    assert all(finding.value is None or np.isfinite(finding.value) for finding in found)


def test_effective_rank_of_equal_directions_is_their_number(well: tuple[Learning, Observed]) -> None:
    codes = np.concatenate([np.eye(8), -np.eye(8)])
    assert observed.collapsed_code(replace(well[1], codes=codes)).value == pytest.approx(1.0)
    codes[:, 4:] = 0
    assert observed.collapsed_code(replace(well[1], codes=codes)).value == pytest.approx(0.5)


def test_shuffling_keeps_values_and_takes_their_company() -> None:
    images = blobs(20).numpy()
    mixed = shuffle(images, IMAGE, 0)
    assert not np.array_equal(mixed, images)
    assert np.array_equal(np.sort(mixed.reshape(20, -1)), np.sort(images.reshape(20, -1)))
    rows = np.concatenate([np.arange(100.0).reshape(50, 2), np.eye(3)[np.arange(50) % 3]], axis=1)
    mixed = shuffle(rows, Item((5,), False, ((2, 5),)), 0)
    assert np.array_equal(np.sort(mixed[:, :2], axis=0), rows[:, :2])
    assert (mixed[:, 2:].sum(1) == 1).all()  # the levels of one column stay together
    assert not np.array_equal(mixed[:, 1] - mixed[:, 0], np.ones(50))


def test_compare_sees_what_train_and_evaluate_found(tmp_path: Path) -> None:
    artifacts = fabricate(tmp_path, {"a": metrics(0.5)})
    write_json(artifacts / "train/a/diagnosis.json", [{"code": "blurry"}])
    (candidate,) = load_candidates(["a"], artifacts)
    assert [finding["code"] for finding in candidate.diagnosis] == ["blurry", "overfit", "untrained"]

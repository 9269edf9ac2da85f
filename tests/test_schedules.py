"""Learning rates, terms, initial weights and optimizers do what their names say, and a resumed run repeats them.

References: torch's schedulers and optimizers, closed forms, an undisturbed run.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from test_train import Unit, blobs, fit, trainer
from torch import Tensor, nn

from components.data.item import Item
from components.models import Blueprint
from components.params.train import Params
from components.runtime.errors import UserError
from components.training.initial import DRAWS, build
from components.training.optimizers import groups
from components.training.schedules import SCHEDULES, Now, begin, plateaus, rate

ITEM = Item((1, 8, 8), True)


def rates(epochs: int, losses: list[float] | None = None, **params: Any) -> list[float]:
    """The learning rate at the start of every epoch."""
    chosen = Params(epochs=epochs, learning_rate=1.0, **params)
    return [rate(begin(epoch, (losses or [])[:epoch], chosen)) for epoch in range(epochs)]


def by_torch(scheduler: Any, epochs: int, losses: list[float] | None = None) -> list[float]:
    optimizer = scheduler.optimizer
    found = []
    for epoch in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*([losses[epoch]] if losses else []))
    return found


def sgd() -> torch.optim.SGD:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)


def test_step_and_exponential_are_torchs() -> None:
    torchs = torch.optim.lr_scheduler
    assert rates(30, schedule="step", decay=0.2, drops=2) == pytest.approx(
        by_torch(torchs.MultiStepLR(sgd(), [10, 20], 0.2), 30)
    )
    assert rates(30, schedule="exponential", decay=0.01) == pytest.approx(
        by_torch(torchs.ExponentialLR(sgd(), 0.01 ** (1 / 30)), 30)
    )


def test_plateau_is_torchs_on_the_validation_losses() -> None:
    losses = [5.0, 4, 4, 4.5, 4, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2, 2, 1, 1]
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(sgd(), factor=0.5, patience=2, threshold=0)
    expected = by_torch(reference, len(losses), losses)
    assert rates(len(losses), losses, schedule="plateau", decay=0.5, plateau_epochs=3) == pytest.approx(expected)
    assert min(expected) == 0.5**4


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warm_up_climbs_in_a_line_to_any_schedule(schedule: str) -> None:
    plain, warmed = rates(20, schedule=schedule), rates(20, schedule=schedule, warm_up=5)
    for epoch, (without, climbing) in enumerate(zip(plain, warmed, strict=True)):
        assert climbing == pytest.approx(without * min(1, epoch / 5))


def test_plateaus_are_counted_anew_after_each() -> None:
    assert plateaus([3, 2, 2, 2, 2, 2, 1, 1], 2) == [3, 5]
    assert plateaus([3, 2, 1, 1], 2) == []
    assert plateaus([1, 1, 1, 1], 0) == []


def test_restarts_return_to_the_best_weights_with_a_lower_rate(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"epochs": 200, "learning_rate": 0.05, "schedule": "constant", "patience": 3}
    once, twice = trainer(**settings), trainer(**settings, restarts=2)
    without, progress = fit(once, tmp_path / "a"), fit(twice, tmp_path / "b")
    ended = plateaus(progress.losses, 3)
    assert len(ended) == 3
    assert ended[-1] == len(progress.history) - 1
    assert progress.history[: len(without.history)] == without.history
    assert progress.best_loss < without.best_loss
    found = [progress.history[epoch]["learning_rate"] for epoch in (0, ended[0] + 1, ended[1] + 1)]
    assert found == pytest.approx([0.05, 0.005, 0.0005])


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_restarts_and_plateaus_broken_off_go_on_to_the_same_weights(tmp_path: Path, stop: int) -> None:
    settings: dict[str, Any] = {
        "epochs": 40, "learning_rate": 0.05, "schedule": "plateau", "plateau_epochs": 2, "patience": 3, "restarts": 1,
        "optimizer": "sgd", "momentum": 0.99, "term_warm_up": 3,
    }  # fmt: skip
    undisturbed = trainer(**settings)
    expected = fit(undisturbed, tmp_path / "a")
    last = plateaus(expected.losses, 3)[0] - 1 + stop  # just before, at and behind the restart

    def break_off(epoch: Any) -> None:
        if epoch.row["epoch"] == last:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(trainer(**settings), tmp_path / "b", break_off)
    resumed = trainer(**settings)
    assert fit(resumed, tmp_path / "b").history == expected.history
    for name, tensor in resumed.network.state_dict().items():
        assert torch.equal(tensor, undisturbed.network.state_dict()[name]), name


class Penalised:
    """Gives a network a second term: the squared size of its code."""

    def __init__(self, network: Any) -> None:
        self.network, self.plain = network, network.objective

    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        return {**self.plain(x), "penalty": self.network.encode(x).square().mean(1)}


def penalised(**params: Any) -> Any:
    subject = trainer(**params)
    subject.objective = subject.network.objective = Penalised(subject.network)
    return subject


def test_terms_are_weighed_and_the_history_keeps_them_as_they_are(tmp_path: Path) -> None:
    weighed = fit(penalised(term_weights={"penalty": 0.25, "reconstruction": 2.0}), tmp_path / "a").history
    for row in weighed:
        for split in ("train", "validation"):
            expected = 2 * row[f"{split}_reconstruction"] + 0.25 * row[f"{split}_penalty"]
            assert row[f"{split}_loss"] == pytest.approx(expected)
    without = fit(penalised(term_weights={"penalty": 0}), tmp_path / "b").history
    assert without[-1]["validation_penalty"] > weighed[-1]["validation_penalty"] > 0
    plain = fit(trainer(), tmp_path / "c").history
    assert [row["validation_reconstruction"] for row in without] == [row["validation_reconstruction"] for row in plain]


def test_warming_terms_climb_by_epochs_and_the_reconstruction_does_not_wait() -> None:
    factors = trainer(term_weights={"penalty": 0.5}, term_warm_up=4).factors
    assert [factors.of("penalty", epoch) for epoch in range(6)] == [0, 0.125, 0.25, 0.375, 0.5, 0.5]
    assert factors.of("penalty") == 0.5
    assert factors.of("reconstruction", 0) == 1.0


def test_a_term_that_the_model_does_not_have_is_refused(tmp_path: Path) -> None:
    message = r"variants\.x\.term_weights: the model has no term 'sparsity'; its terms are reconstruction, penalty"
    with pytest.raises(UserError, match=message):
        fit(penalised(term_weights={"sparsity": 1.0}), tmp_path)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_weight_decay_spares_biases_and_norms(optimizer: str) -> None:
    subject = trainer("conv", optimizer=optimizer, weight_decay=0.5, learning_rate=0.01)
    before = {name: tensor.clone() for name, tensor in subject.network.named_parameters()}
    for weight in subject.network.parameters():
        weight.grad = torch.zeros_like(weight)
    subject.optimizer.step()
    for name, weight in subject.network.named_parameters():
        assert torch.equal(weight, before[name]) == (weight.ndim < 2), name
    sizes = [sum(weight.numel() for weight in group["params"]) for group in groups(subject.network, 0.5)]
    assert sum(sizes) == sum(weight.numel() for weight in subject.network.parameters())


def test_sgd_with_momentum_takes_torchs_steps() -> None:
    subject, reference = trainer(optimizer="sgd", weight_decay=0.0), trainer().network
    theirs = torch.optim.SGD(reference.parameters(), 3e-3, momentum=0.9)
    for _ in range(3):
        for network, optimizer in ((subject.network, subject.optimizer), (reference, theirs)):
            optimizer.zero_grad()
            network.objective(Unit()(blobs()))["reconstruction"].mean().backward()
            optimizer.step()
    for ours, expected in zip(subject.network.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(ours, expected, atol=1e-6)


def test_initial_weights_have_the_spread_of_their_definition() -> None:
    blueprint = Blueprint("vanilla", {"latent_dim": 8}, None, None, Item((1, 28, 28), True), "bce")
    first = {init: build(blueprint, init, 0).encoder[0] for init in ("default", *DRAWS)}
    outs, ins = first["default"].weight.shape
    expected = {"xavier": (2 / (ins + outs)) ** 0.5, "kaiming": (2 / ins) ** 0.5, "guide": (2 / outs) ** 0.5}
    for init, deviation in expected.items():
        assert float(first[init].weight.detach().std()) == pytest.approx(deviation, rel=0.03)
    rows = first["orthogonal"].weight.detach()
    assert torch.allclose(rows @ rows.T, torch.eye(outs), atol=1e-4)
    assert all(not layer.bias.any() for init, layer in first.items() if init != "default")
    torch.manual_seed(0)
    assert torch.equal(first["default"].weight, blueprint.build().encoder[0].weight)


@pytest.mark.parametrize("init", DRAWS)
def test_transposed_convolutions_are_drawn_by_their_own_fan(init: str) -> None:
    blueprint = Blueprint("conv", {"latent_dim": 8}, None, None, Item((1, 28, 28), True), "bce")
    once, again = build(blueprint, init, 3), build(blueprint, init, 3)
    assert all(torch.equal(a, b) for a, b in zip(once.parameters(), again.parameters(), strict=True))
    up = once.decoder[0]
    into, out = up.weight.shape[0] * 9, up.weight.shape[1] * 9
    expected = {"kaiming": (2 / into) ** 0.5, "guide": (2 / out) ** 0.5, "xavier": (2 / (into + out)) ** 0.5}
    if init in expected:
        assert float(up.weight.detach().std()) == pytest.approx(expected[init], rel=0.03)


def test_now_moves_within_an_epoch() -> None:
    now = Now(0.5, Params(), plateaus=1, restarts=2)
    assert now.at(0.6) == Now(0.6, Params(), plateaus=1, restarts=2)

"""The contractive penalty is the squared norm of the encoder's Jacobian, however it is computed.

References: autograd, one row of the Jacobian at a time; central differences in float64.
"""

from typing import Any

import pytest
import torch

from components.data.item import Item
from components.models import Blueprint
from components.models.contractive import Contractive


def build(**params: Any) -> Contractive:
    torch.manual_seed(0)
    given = {"latent_dim": 5, "hidden": [9, 7], "activation": "tanh", **params}
    return Blueprint("contractive", given, None, None, Item((1, 4, 3), True), "bce").build()


def squared_norm(model: Contractive, x: torch.Tensor) -> torch.Tensor:
    """One backward pass per code unit."""
    x = x.clone().requires_grad_()
    code = model.encode(x)
    rows = [torch.autograd.grad(code[:, unit].sum(), x, retain_graph=True)[0] for unit in range(code.shape[1])]
    return sum(row.square().flatten(1).sum(1) for row in rows)


@pytest.mark.parametrize("hidden", [[], [9], [9, 7]])
def test_the_exact_penalty_is_the_squared_norm_of_the_jacobian(hidden: list[int]) -> None:
    model, x = build(hidden=hidden, estimator="exact", contraction_weight=1.0), torch.rand(20, 1, 4, 3)
    assert torch.allclose(model.objective(x)["contraction"], squared_norm(model, x), rtol=1e-4)


def test_the_estimate_has_the_exact_norm_as_its_mean() -> None:
    model, x = build(), torch.rand(3, 1, 4, 3)
    exact = model.jacobian_norm(x, model.encode(x)).detach()
    draws = torch.stack([model.estimated_norm(x)[1].detach() for _ in range(4000)])
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - exact).abs() < 4 * error).all()
    assert (error < 0.03 * exact).all()


@pytest.mark.parametrize("estimator", ["exact", "hutchinson"])
def test_validation_sees_the_penalty_that_training_sees(estimator: str) -> None:
    model, x = build(estimator=estimator).eval(), torch.rand(6, 1, 4, 3)
    torch.manual_seed(1)
    trained = model.objective(x)["contraction"]
    torch.manual_seed(1)
    with torch.no_grad():
        validated = model.objective(x)["contraction"]
    assert trained.requires_grad and not validated.requires_grad
    assert torch.equal(trained.detach(), validated)
    assert validated.min() > 0


@pytest.mark.parametrize("estimator", ["exact", "hutchinson"])
def test_the_penaltys_gradient_is_right(estimator: str) -> None:
    model, x = build(estimator=estimator, contraction_weight=1.0).double(), torch.rand(6, 1, 4, 3, dtype=torch.float64)
    weight = model.encoder[0].weight

    def penalty() -> torch.Tensor:
        torch.manual_seed(1)
        return model.objective(x)["contraction"].sum()

    penalty().backward()
    values = []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            weight[2, 3] += step
            values.append(penalty())
            weight[2, 3] -= step
    assert float((values[0] - values[1]) / 2e-5) == pytest.approx(float(weight.grad[2, 3]), rel=1e-5)


def test_training_contracts_the_code() -> None:
    x, shifts = torch.rand(100, 1, 4, 3), []
    for weight in (0.0, 1.0):
        model = build(contraction_weight=weight)
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(100):
            optimizer.zero_grad()
            torch.stack([term.mean() for term in model.objective(x).values()]).sum().backward()
            optimizer.step()
        with torch.no_grad():
            shifts.append({name: float(value.mean()) for name, value in model.speciality(x).items()})
    assert shifts[1]["jacobian_norm"] < 0.5 * shifts[0]["jacobian_norm"]
    assert shifts[1]["code_shift"] < 0.5 * shifts[0]["code_shift"]


def test_the_decoder_sees_a_small_code_as_the_encoder_had_it_before_its_sigmoid() -> None:
    model, values = build(), 0.01 * torch.randn(20, 5)
    seen = model.decode_logits(torch.sigmoid(values)).flatten(1)
    assert torch.allclose(seen, model.decoder(values), atol=1e-5)

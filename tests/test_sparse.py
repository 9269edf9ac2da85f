"""The sparse model is sparse in the way it was asked to be.

References: scipy's relative entropy, closed forms of one-hot and uniform codes, torch's gradients.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import rel_entr

from components.data.item import Item
from components.models import Blueprint
from components.models.sparse import Params, Sparse, divergence, dominance, hoyer, keep_largest
from components.params.variants import resolve
from components.runtime.errors import UserError


def build(penalty: str, **params: Any) -> Sparse:
    torch.manual_seed(0)
    given = {"latent_dim": 40, "hidden": [50], "penalty": penalty, **params}
    return Blueprint("sparse", given, None, None, Item((30,), False), "mse").build()


def train(model: Sparse, x: torch.Tensor, steps: int = 200) -> Sparse:
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.stack([term.mean() for term in model.objective(x).values()]).sum().backward()
        optimizer.step()
    return model


def test_kl_is_the_relative_entropy_of_the_target_to_mean_activations() -> None:
    values = torch.randn(50, 7)
    mean = torch.sigmoid(values).mean(0).numpy()
    expected = (rel_entr(0.05, mean) + rel_entr(0.95, 1 - mean)).sum()
    assert divergence(values, 0.05).shape == (50,)
    assert float(divergence(values, 0.05)[0]) == pytest.approx(float(expected), rel=1e-5)
    assert float(divergence(torch.full((9, 3), math.log(0.05 / 0.95)), 0.05)[0]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("value", [-500.0, 500.0])
def test_kl_of_a_dead_or_saturated_unit_is_finite_and_pulls_it_back(value: float) -> None:
    values = torch.full((8, 2), value, requires_grad=True)
    penalty = divergence(values, 0.05).mean()
    penalty.backward()
    assert torch.isfinite(penalty)
    assert (values.grad * value > 0).all()


def test_winner_take_all_is_least_where_one_unit_speaks() -> None:
    one_hot, uniform = torch.eye(8)[:1] * -3, torch.full((1, 8), 0.2)
    assert float(dominance(one_hot)) == pytest.approx(-math.log(8), rel=1e-5)
    assert float(dominance(uniform)) == pytest.approx(0, abs=1e-6)
    assert float(dominance(7 * one_hot)) == pytest.approx(float(dominance(one_hot)), rel=1e-5)
    assert torch.isfinite(dominance(torch.zeros(1, 8))).all()


def test_top_k_keeps_k_units_and_is_continuous_where_two_change_places() -> None:
    code = keep_largest(torch.tensor([[3.0, -2.0, 1.0, 0.5]]), 2)
    assert torch.equal(code, torch.tensor([[2.0, -1.0, 0.0, 0.0]]))
    before, after = (keep_largest(torch.tensor([[3.0, 1.0 + shift, 1.0]]), 2) for shift in (1e-6, -1e-6))
    assert torch.allclose(before, after, atol=1e-5)
    dense, x = build("top_k", k=40), torch.randn(9, 30)
    assert torch.equal(dense.encode(x), dense.encoder(x))
    active = (build("top_k", k=5).encode(torch.randn(100, 30)) != 0).sum(1)
    assert active.max() == active.min() == 5


def test_hoyers_measure_runs_from_uniform_to_one_hot() -> None:
    codes = torch.stack([torch.ones(9), torch.eye(9)[3], torch.zeros(9)])
    assert torch.allclose(hoyer(codes), torch.tensor([0.0, 1.0, 1.0]), atol=1e-6)
    assert torch.equal(hoyer(torch.rand(3, 1)), torch.ones(3))


@pytest.mark.parametrize(
    ("penalty", "weight", "measure", "reached"),
    [
        ("l1", 1.0, "zero_share", lambda free, held: held > 0.85 > free),
        ("kl", 0.1, "mean", lambda free, held: abs(held - 0.05) < 0.02 < abs(free - 0.05)),
        ("winner_take_all", 1.0, "hoyer_sparsity", lambda free, held: held > free + 0.2),
    ],
)
def test_a_penalty_reaches_the_sparsity_it_asks_for(penalty: str, weight: float, measure: str, reached: Any) -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(200, 30))).float()
    found = []
    for strength in (0.0, weight):
        model = train(build(penalty, sparsity_weight=strength), x)
        measured = {**model.speciality(x), "mean": model.encode(x)}
        found.append(float(measured[measure].detach().mean()))
    assert reached(*found), found


def test_an_overcomplete_code_is_allowed_and_k_must_fit() -> None:
    assert build("kl").encode(torch.randn(2, 30)).shape == (2, 40)
    assert Params(latent_dim=4).kept == 1
    with pytest.raises(UserError, match=r"variants\.v: k must be at most latent_dim \(8\), got 9"):
        resolve("v", {"variants": {"v": {"model": "sparse", "latent_dim": 8, "k": 9}}})


def test_the_code_size_of_a_wrapped_model_is_its_wrappers() -> None:
    variant = resolve("v", {"variants": {"v": {"model": "denoising", "base": "sparse"}}})
    assert variant.base_params is not None
    assert variant.base_params.latent_dim == variant.params.latent_dim == 32

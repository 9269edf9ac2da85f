"""Corruptions are what they are named, and every base learns to undo them.

References: torchvision's Gaussian blur, moments and shares in closed form; masking, salt-and-pepper and Gaussian noise
stand in tests/test_models.py.
"""

from typing import Any

import pytest
import torch
from torchvision.transforms.functional import gaussian_blur

from components.data.item import Item
from components.models import Autoencoder, Blueprint, bases, find
from components.models.denoising import Params, blur, dropout, swap
from components.params.variants import resolve
from components.runtime.errors import UserError

IMAGE = Item((1, 8, 8), True)
TABLE = Item((6,), False, groups=((1, 3), (3, 6)))


def build(item: Item = IMAGE, base: str = "vanilla", **params: Any) -> Autoencoder:
    torch.manual_seed(0)
    loss = "mixed" if item.groups else "bce" if item.unit_range else "mse"
    own = Params(latent_dim=3, **params).model_dump()
    return Blueprint("denoising", own, base, {"latent_dim": 3}, item, loss).build()


def table(records: int) -> torch.Tensor:
    levels = [torch.nn.functional.one_hot(torch.randint(0, size, (records,)), size) for size in (2, 3)]
    return torch.cat([torch.randn(records, 1), *levels], 1)


def test_dropout_scales_what_it_keeps_so_that_the_mean_stays() -> None:
    torch.manual_seed(0)
    x = dropout(torch.full((500, 200), 0.6), 0.25)
    assert x.unique().tolist() == pytest.approx([0, 0.8])
    assert float((x == 0).float().mean()) == pytest.approx(0.25, abs=0.005)
    assert float(x.mean()) == pytest.approx(0.6, abs=0.005)
    assert torch.isfinite(dropout(x, 1.0)).all()


@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.7])
def test_blur_is_torchvisions_away_from_the_edge(sigma: float) -> None:
    x, radius = torch.rand(3, 2, 20, 17), -int(-3 * sigma // 1)
    expected = gaussian_blur(x, [2 * radius + 1] * 2, [sigma, sigma])
    inner = (..., slice(radius, -radius), slice(radius, -radius))
    assert torch.allclose(blur(x, sigma)[inner], expected[inner], atol=1e-6)


def test_blur_takes_images_smaller_than_its_kernel_and_leaves_flat_ones_alone() -> None:
    flat = torch.full((2, 2, 3, 1), 0.4)
    assert torch.allclose(blur(flat, 3.0), flat)


def test_swap_takes_the_same_value_of_another_record() -> None:
    torch.manual_seed(0)
    x = torch.arange(1000.0)[:, None] + torch.tensor([0.0, 10_000.0, 20_000.0])
    swapped = swap(x, 0.3)
    assert torch.equal((swapped // 10_000), (x // 10_000))
    # another record, never the record itself: the share is the one that was asked for
    assert float((swapped != x).float().mean()) == pytest.approx(0.3, abs=0.03)
    assert torch.equal(swap(x[:1], 1.0), x[:1])
    assert not (swap(x, 1.0) == x).any()
    assert swap(torch.rand(5, 1, 3, 3), 0.5).shape == (5, 1, 3, 3)


def test_swap_moves_the_levels_of_a_column_together() -> None:
    torch.manual_seed(0)
    x = table(500)
    swapped = build(TABLE, corruption="swap", strength=0.5).corrupt(x)
    assert not torch.equal(swapped, x)
    for start, stop in TABLE.groups:
        assert torch.equal(swapped[:, start:stop].sum(1), torch.ones(500))


def test_each_batch_draws_one_corruption_of_a_list() -> None:
    model, x = build(corruption=["masking", "salt_pepper", "blur"], strength=0.5), torch.full((4, 1, 8, 8), 0.5)
    torch.manual_seed(0)
    seen = {tuple(model.corrupt(x).round(decimals=3).unique().tolist()) for _ in range(40)}
    assert seen == {(0.0, 0.5), (0.0, 0.5, 1.0), (0.5,)}


@pytest.mark.parametrize(
    ("corruption", "message"),
    [
        ("blur", "corruption 'blur' needs images, the records are rows"),
        ("salt_pepper", r"corruption 'salt_pepper' needs values in 0\.\.1, rows are standardised"),
        (["swap", "blur"], "corruption 'blur' needs images"),
    ],
)
def test_a_corruption_that_does_not_suit_the_data_is_refused(corruption: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(TABLE, corruption=corruption)


def test_an_unknown_corruption_is_named() -> None:
    with pytest.raises(UserError, match=r"variants\.v\.corruption\.1: must be 'gaussian'.*got 'blurr'"):
        resolve("v", {"variants": {"v": {"model": "denoising", "corruption": ["swap", "blurr"]}}})


@pytest.mark.parametrize("base", bases())
def test_every_base_keeps_its_own_terms_and_moves_all_its_weights(base: str) -> None:
    model, x = build(base=base, corruption=["gaussian", "dropout"]).train(), torch.rand(16, 1, 8, 8)
    terms = model.objective(x)
    assert set(terms) == set(model.base.objective(x))
    torch.stack([term.mean() for term in terms.values()]).sum().backward()
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in model.parameters())
    with torch.no_grad():
        special = model.eval().speciality(x)
    assert {"denoising_gain_db"} | set(model.base.speciality(x)) <= set(special)


@pytest.mark.parametrize("base", [name for name in bases() if not find(name).images_only])
def test_every_dense_base_denoises_tables(base: str) -> None:
    model, x = build(TABLE, base, corruption=["swap", "masking", "gaussian"]), table(40)
    terms = model.train().objective(x)
    assert all(term.shape == (40,) and torch.isfinite(term).all() for term in terms.values())

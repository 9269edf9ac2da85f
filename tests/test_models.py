"""What every model promises, asked of every file in components/models/; then what single models promise beyond that.

Reference: scikit-learn's PCA, the probabilities in the corruptions' definitions, and shapes.
"""

import numpy as np
import pytest
import torch
from sklearn import decomposition

from components import models
from components.data.item import Item
from components.layers.dense import default_hidden
from components.layers.images import halvings
from components.models import Blueprint, denoising, pca
from components.runtime.errors import UserError

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 50, 37), (2, 3, 5), (30,)]
CASES: list[tuple[str, tuple[int, ...], dict[str, str]]] = [
    (name, shape, {})
    for name in models.known()
    for shape in SHAPES
    if len(shape) == 3 or not models.find(name).images_only
]
CASES += [("vanilla", (30,), {"output": output}) for output in ("sigmoid", "tanh", "linear")]
CASES += [("vanilla", (1, 8, 8), {"output": "sigmoid"})]


def build(name: str, shape: tuple[int, ...], latent_dim: int = 4, **options: str) -> models.Autoencoder:
    base = models.find(name).default_base
    params = {"latent_dim": latent_dim, **options}
    item = Item(shape, len(shape) == 3)
    torch.manual_seed(0)
    return Blueprint(name, params, base, params if base else None, item, "bce" if item.unit_range else "mse").build()


@pytest.mark.parametrize(("name", "shape", "options"), CASES)
def test_shapes_for_records_of_any_size(name: str, shape: tuple[int, ...], options: dict[str, str]) -> None:
    model, x = build(name, shape, **options).eval(), torch.rand(5, *shape)
    reconstruction, code = model(x)
    assert reconstruction.shape == x.shape
    assert code.shape == (5, 4)
    assert torch.equal(model.decode(model.encode(x)), reconstruction)
    terms = model.objective(x)
    assert all(term.shape == (5,) and torch.isfinite(term).all() for term in terms.values())


@pytest.mark.parametrize("name", [name for name in models.known() if not models.find(name).closed_form])
def test_every_weight_receives_a_finite_gradient(name: str) -> None:
    model = build(name, (1, 8, 8)).train()
    sum(term.mean() for term in model.objective(torch.rand(16, 1, 8, 8)).values()).backward()
    for weight, parameter in model.named_parameters():
        assert parameter.grad is not None, weight
        assert torch.isfinite(parameter.grad).all(), weight
        assert parameter.grad.abs().sum() > 0 or "bias" in weight, weight


@pytest.mark.parametrize("name", models.known())
def test_a_record_is_judged_alone_whatever_its_batch(name: str) -> None:
    model, x = build(name, (1, 8, 8)).eval(), torch.rand(7, 1, 8, 8)
    assert torch.allclose(model(x)[0][2:3], model(x[2:3])[0], atol=1e-6)


@pytest.mark.parametrize("name", models.known())
def test_every_entry_describes_itself(name: str) -> None:
    entry = models.find(name)
    assert entry.name == name
    assert entry.description
    module = __import__(f"components.models.{name}", fromlist=["MODEL"])
    assert "Paper" in module.__doc__
    assert "Departures" in module.__doc__
    assert "Limits" in module.__doc__


@pytest.mark.parametrize(("name", "shape"), [("vanilla", (1, 8, 8)), ("conv", (1, 8, 8)), ("pca", (30,))])
def test_a_code_that_is_too_large_is_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"latent_dim: must be between 1 and \d+ \(records have \d+ values\), got 999"):
        build(name, shape, latent_dim=999)


def test_conv_needs_images() -> None:
    with pytest.raises(UserError, match="'conv' needs images, the records are rows"):
        build("conv", (30,))


@pytest.mark.parametrize("latent_dim", [1, 5, 12])
def test_pca_is_scikit_learns_pca(latent_dim: int) -> None:
    x = np.random.default_rng(0).normal(size=(300, 12)) @ np.random.default_rng(1).normal(size=(12, 12))
    model = pca.PCA(Item((12,), False), pca.Params(latent_dim=latent_dim))
    model.fit(torch.from_numpy(x).float().split(64))
    reference = decomposition.PCA(latent_dim, svd_solver="full").fit(x)
    reconstruction, code = (t.numpy() for t in model(torch.from_numpy(x).float()))
    assert np.allclose(reconstruction, reference.inverse_transform(reference.transform(x)), atol=1e-4)
    assert np.allclose(np.abs(code), np.abs(reference.transform(x)), atol=1e-4)


def test_pca_needs_more_records_than_components() -> None:
    model = pca.PCA(Item((12,), False), pca.Params(latent_dim=5))
    with pytest.raises(ValueError, match="PCA with 5 components needs more than 5 training records"):
        model.fit([torch.rand(5, 12)])


def test_default_widths_are_the_textbooks_for_28x28_images() -> None:
    assert default_hidden(784, 32) == [512, 256, 128]
    assert default_hidden(64, 8) == [32, 32, 32]
    assert all(width >= 20 for width in default_hidden(30, 20))


def test_conv_can_reconstruct_dark_pixels_however_small_the_image() -> None:
    for shape in ((1, 2, 9), (1, 1, 16), (1, 3, 3), (1, 8, 8)):
        assert float(build("conv", shape).decode_logits(torch.randn(50, 4)).detach().min()) < 0, shape


def test_conv_halves_until_two_pixels() -> None:
    assert halvings(28, 28, 8) == [(28, 28), (14, 14), (7, 7), (4, 4), (2, 2)]
    assert halvings(50, 37, 3) == [(50, 37), (25, 19), (13, 10), (7, 5)]


@pytest.mark.parametrize("strength", [0.05, 0.3, 0.8])
def test_corruptions_have_the_strength_they_are_given(strength: float) -> None:
    torch.manual_seed(0)
    x = torch.full((1000, 1, 10, 10), 0.5)
    assert float((denoising.gaussian(x, strength) - x).std()) == pytest.approx(strength, rel=0.02)
    assert float((denoising.masking(x, strength) == 0).float().mean()) == pytest.approx(strength, abs=0.01)
    noisy = denoising.salt_pepper(x, strength)
    # exactly the share that was asked for: positions drawn with replacement would collide and fall short
    assert float((noisy == 0).float().mean()) == pytest.approx(strength / 2, abs=0.01)
    assert float((noisy == 1).float().mean()) == pytest.approx(strength / 2, abs=0.01)
    assert float((noisy == 0.5).float().mean()) == pytest.approx(1 - strength, abs=0.01)


def test_denoising_learns_from_corrupted_records_and_scores_clean_ones() -> None:
    model, x = build("denoising", (1, 8, 8)).eval(), torch.rand(50, 1, 8, 8)
    assert torch.equal(model(x)[0], model.base(x)[0])
    assert not torch.equal(model.objective(x)["reconstruction"], model.base.objective(x)["reconstruction"])
    corrupted = model.corrupt(x)
    assert corrupted.min() >= 0
    assert corrupted.max() <= 1
    gain = model.speciality(x)
    assert float(gain["noisy_mse"].mean()) > 0.01


def test_binary_cross_entropy_from_logits_is_finite_where_probabilities_are_not() -> None:
    model = build("vanilla", (1, 8, 8))
    logits = torch.full((2, 64), -200.0)
    assert torch.isfinite(model.reconstruction_loss(logits, torch.ones(2, 64))).all()
    expected = torch.nn.functional.binary_cross_entropy(torch.full((1, 64), 0.3), torch.full((1, 64), 0.8))
    ours = model.reconstruction_loss(torch.logit(torch.full((1, 64), 0.3)), torch.full((1, 64), 0.8))
    assert float(ours) == pytest.approx(float(expected), rel=1e-5)


def test_a_tables_loss_is_gaussian_for_numbers_and_cross_entropy_for_levels() -> None:
    item = Item((6,), False, groups=((1, 3), (4, 6)))
    model = Blueprint("vanilla", {"latent_dim": 2}, None, None, item, "mixed").build()
    logits, target = torch.randn(5, 6), torch.randn(5, 6)
    levels = torch.randint(0, 2, (5, 2))
    target[:, 1:3], target[:, 4:6] = (torch.nn.functional.one_hot(level, 2).float() for level in levels.T)
    entropy = torch.nn.functional.cross_entropy
    expected = ((logits - target)[:, [0, 3]].square().sum(1) / 2
                + entropy(logits[:, 1:3], levels[:, 0], reduction="none")
                + entropy(logits[:, 4:6], levels[:, 1], reduction="none")) / 4  # fmt: skip
    assert torch.allclose(model.reconstruction_loss(logits, target), expected, atol=1e-6)
    probabilities = model.decode(torch.randn(5, 2))
    assert torch.allclose(probabilities[:, 1:3].sum(1), torch.ones(5))
    assert torch.allclose(probabilities[:, 4:6].sum(1), torch.ones(5))
    assert not torch.allclose(probabilities[:, [0, 3]].sum(1), torch.ones(5))

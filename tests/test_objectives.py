"""Every reconstruction loss is what its definition says, for any record, and only for records it is made for.

References: numpy loops over the definitions, closed forms of SSIM, torchvision's VGG16 with random weights.
"""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import vgg16

from components.data.item import Item
from components.models import Blueprint, find, known
from components.objectives import LOSSES, choose, file_digest, load_distance
from components.objectives.perceptual import _MEAN, _TAPS, Features, as_colour, enlarge
from components.objectives.ssim import ssim
from components.runtime.errors import UserError

IMAGE, ROW, TABLE = Item((1, 8, 8), True), Item((5,), False), Item((5,), False, ((1, 3),))
CPU = torch.device("cpu")


def images(count: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


def ssim_by_loops(x: np.ndarray, y: np.ndarray) -> float:
    """Wang's formula at every pixel, one window at a time."""
    found = []
    for row, column in np.ndindex(x.shape):
        sums, total = np.zeros(5), 0.0
        for i, j in np.ndindex(x.shape):
            if max(abs(i - row), abs(j - column)) <= 5:
                weight = np.exp(-((i - row) ** 2 + (j - column) ** 2) / (2 * 1.5**2))
                total += weight
                sums += weight * np.array([x[i, j], y[i, j], x[i, j] ** 2, y[i, j] ** 2, x[i, j] * y[i, j]])
        a, b, aa, bb, ab = sums / total
        c1, c2 = 0.01**2, 0.03**2
        found.append((2 * a * b + c1) / (a * a + b * b + c1) * (2 * (ab - a * b) + c2) / (aa - a * a + bb - b * b + c2))
    return float(np.mean(found))


@pytest.mark.parametrize("shape", [(14, 17), (3, 4), (1, 2)])
def test_ssim_is_the_papers_formula_for_images_of_any_size(shape: tuple[int, int]) -> None:
    x, y = images(1, 1, *shape), images(1, 1, *shape, seed=1)
    expected = ssim_by_loops(x[0, 0].double().numpy(), y[0, 0].double().numpy())
    assert float(ssim(x, y)) == pytest.approx(expected, abs=1e-4)


def test_ssim_of_equal_and_of_constant_images() -> None:
    x = images(3, 2, 9, 9)
    assert torch.allclose(ssim(x, x), torch.ones(3), atol=1e-6)
    for a, b in ((0.2, 0.7), (0.0, 1.0), (0.5, 0.5)):
        pair = (torch.full((1, 1, 12, 12), value) for value in (a, b))
        assert float(ssim(*pair)) == pytest.approx((2 * a * b + 1e-4) / (a * a + b * b + 1e-4), abs=1e-4)


def test_ssim_keeps_its_precision_under_autocast() -> None:
    x, y = images(2, 1, 16, 16), images(2, 1, 16, 16, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ssim(x, y), ssim(x.float(), y.float()))
    assert ssim(x, y).dtype == torch.float32


@pytest.mark.parametrize(("item", "delta"), [(IMAGE, 0.1), (ROW, 1.0)])
def test_l1_and_huber_are_their_definitions(item: Item, delta: float) -> None:
    output, target = 3 * images(4, *item.shape), images(4, *item.shape, seed=1)
    distance = np.abs(output.numpy() - target.numpy()).reshape(4, -1)
    assert np.allclose(LOSSES["l1"].distance(output, target, item), distance.mean(1), atol=1e-6)
    expected = np.where(distance <= delta, distance**2 / 2, delta * (distance - delta / 2)).mean(1)
    assert np.allclose(LOSSES["huber"].distance(output, target, item), expected, atol=1e-6)


@pytest.mark.parametrize("loss", [name for name, entry in LOSSES.items() if entry.suits(IMAGE) and not entry.load])
@pytest.mark.parametrize("model", [name for name in known() if not find(name).squared_error])
def test_every_loss_trains_every_model(model: str, loss: str) -> None:
    base, size = find(model).default_base, {"latent_dim": 4}
    torch.manual_seed(0)
    network = Blueprint(model, size, base, size if base else None, IMAGE, loss).build()
    x = images(6, 1, 8, 8)
    terms = network.objective(x)
    assert terms["reconstruction"].shape == (6,)
    sum(term.mean() for term in terms.values()).backward()
    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters() if weight.grad is not None)
    inside = bool(((network(x)[0] >= 0) & (network(x)[0] <= 1)).all())
    assert inside or not LOSSES[loss].probabilities


@pytest.mark.parametrize(
    ("wanted", "item", "chosen"),
    [
        ("auto", IMAGE, "bce"),
        ("auto", ROW, "mse"),
        ("auto", TABLE, "mixed"),
        ("l1", TABLE, "l1"),
        ("ssim", IMAGE, "ssim"),
    ],
)
def test_auto_follows_the_kind_of_records(wanted: str, item: Item, chosen: str) -> None:
    assert choose(wanted, item, "variants.x") == chosen


@pytest.mark.parametrize(
    ("wanted", "item", "message"),
    [
        ("bce", ROW, r"variants\.x\.loss: 'bce' needs values in 0\.\.1; use auto, mse, l1, huber"),
        ("ssim", ROW, r"variants\.x\.loss: 'ssim' needs images; use auto, mse, l1, huber"),
        ("mixed", IMAGE, r"'mixed' needs a table; use auto, mse, bce, l1, huber, ssim"),
    ],
)
def test_a_loss_for_other_records_is_refused(wanted: str, item: Item, message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose(wanted, item, "variants.x")


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the seven convolutions, under torchvision's names."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vgg") / "vgg16.safetensors"
    save_file(Features().state_dict(), path)
    return path


def test_features_are_those_of_torchvisions_vgg16() -> None:
    ours = Features()
    with torch.device("meta"):
        theirs = vgg16(weights=None).features[:16]
    assert ["features." + name for name in theirs.state_dict()] == list(ours.state_dict())
    theirs.load_state_dict(ours.features.state_dict(), assign=True)
    x = images(2, 3, 32, 40)
    expected = (x - torch.tensor(_MEAN).view(3, 1, 1)) / ours.deviation
    for index, layer in enumerate(theirs):
        expected = layer(expected)
        if index in _TAPS:
            assert torch.equal(ours(x)[_TAPS.index(index)], expected)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 40, 33), (2, 3, 5)])
def test_perceptual_takes_images_of_any_size_and_channel_count(vgg_file: Path, shape: tuple[int, ...]) -> None:
    distance = load_distance("perceptual", str(vgg_file), CPU, "variants.x")
    x, y = images(2, *shape), images(2, *shape, seed=1).requires_grad_()
    item = Item(shape, True)
    assert torch.equal(distance(x, x, item), torch.zeros(2))
    distance(y, x, item).sum().backward()
    assert (distance(y, x, item) > 0).all()
    assert torch.isfinite(y.grad).all()
    assert y.grad.abs().sum() > 0


def test_enlarging_repeats_pixels_and_grey_is_the_mean() -> None:
    x = images(2, 1, 3, 5)
    assert torch.equal(enlarge(x), x.repeat_interleave(11, 2).repeat_interleave(11, 3))
    assert torch.equal(as_colour(images(2, 2, 3, 3))[:, 2], images(2, 2, 3, 3).mean(1))


def test_the_network_behind_perceptual_enters_no_models_weights(vgg_file: Path) -> None:
    network = Blueprint("vanilla", {"latent_dim": 4}, None, None, IMAGE, "perceptual").build()
    names = list(network.state_dict())
    network.distance = load_distance("perceptual", str(vgg_file), CPU, "variants.x")
    assert list(network.state_dict()) == names
    assert network.objective(images(2, 1, 8, 8))["reconstruction"].shape == (2,)


def test_the_content_of_the_file_is_noted(vgg_file: Path) -> None:
    assert file_digest("perceptual", str(vgg_file)) == {"loss_file": hashlib.sha256(vgg_file.read_bytes()).hexdigest()}
    assert file_digest("mse", str(vgg_file)) == file_digest("bce", None) == {}


def test_a_file_that_does_not_serve_is_one_line(tmp_path: Path) -> None:
    class Evil:
        """Runs code when unpickled."""

        def __reduce__(self) -> tuple[object, ...]:
            return (print, ("unpickled",))

    torch.save({"features.0.weight": torch.zeros(3)}, tmp_path / "other.pth")
    torch.save(Evil(), tmp_path / "evil.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\x08")
    wrong = {
        None: "perceptual_weights: is missing, loss 'perceptual' is made of",
        "no.pth": "no file ",
        "other.pth": "has no 'features.0.weight' of vgg16's shape",
        "evil.pth": "holds no tensors that can be read without running code",
        "cut.safetensors": "holds no tensors that can be read without running code",
    }
    for name, message in wrong.items():
        with pytest.raises(UserError, match=message):
            load_distance("perceptual", name and str(tmp_path / name), CPU, "variants.x")

"""What the guide gets wrong is right here, and the tests would notice the faulty rule: each meets both.

The corrections, and the test that holds each (docs/guide.md tells more, with further ones):

strided convolutions, sizes   test_strided_convolutions_are_measured_where_they_end, test_a_strided_decoder_returns
U-Net, sizes of its skips     test_a_unet_goes_up_through_the_sizes_of_its_skips
U-Net, what its code is       test_a_unets_code_is_its_bottleneck, and the code alone is decoded:
                              test_convolutions.py::test_a_unet_trains_with_skips_and_is_judged_without
test set drives training      test_training_knows_no_test_record
test set chooses the model    test_compare.py::test_the_winner_is_best_on_validation_whatever_test_says
threshold on training errors  test_a_threshold_holds_for_records_that_training_did_not_see
denoising without noise       test_denoising_is_validated_on_noise
BCE beside squared error      test_what_stands_beside_pca_is_in_pcas_units, test_squared_error_has_pcas_linear_output
detector flattens images      test_images_are_scored_as_images
salt-and-pepper               test_salt_and_pepper_change_the_share_that_was_asked_for
contraction not evaluated     test_validation_minimises_what_training_minimises
ragged last batch             test_a_mean_over_batches_is_the_mean_over_records
removed arguments             test_removed_arguments_are_not_needed
"""

import ast
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT
from sklearn.datasets import load_digits
from test_train import Unit, blobs, fit, trainer
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchvision.models import vgg16

from components.data import splits
from components.data.item import Item
from components.layers.images import halvings
from components.models import Autoencoder, Blueprint, denoising, find
from components.models.pca import PCA
from components.models.pca import Params as PcaParams
from components.objectives.perceptual import Features
from components.params.train import Params
from components.runtime.errors import UserError
from components.scoring.conformal import Calibration
from components.scoring.score import reconstruction_error, score_records
from components.train import train
from components.training.schedules import begin, rate
from components.training.trainer import add_sums

IMAGE, LARGE, ROW = Item((1, 8, 8), True), Item((1, 28, 28), True), Item((30,), False)
Rule = TypeVar("Rule")


def only_ours(
    check: Callable[[Rule], None],
    ours: Rule,
    theirs: Rule,
    refusal: type[Exception] | tuple[type[Exception], ...] = AssertionError,
) -> None:
    """The check lets our rule pass and catches the faulty one."""
    check(ours)
    with pytest.raises(refusal):
        check(theirs)


def build(name: str, item: Item = IMAGE, loss: str = "bce", **params: Any) -> Autoencoder:
    torch.manual_seed(0)
    entry = find(name)
    given = entry.params(**{"latent_dim": 4, **params}).model_dump()
    return Blueprint(name, given, entry.default_base, entry.default_base and {"latent_dim": 4}, item, loss).build()


def test_strided_convolutions_are_measured_where_they_end() -> None:
    layers = nn.Sequential(*(nn.Conv2d(1, 1, 3, stride=2, padding=1) for _ in range(4)))

    def check(last_side: Callable[[int], int]) -> None:
        for side in (28, 32, 50):
            assert layers(torch.zeros(1, 1, side, side)).shape[2] == last_side(side)

    only_ours(check, lambda side: halvings(side, side, 4)[-1][0], lambda side: side // 2**3)


def test_a_strided_decoder_returns() -> None:
    def check(network: Autoencoder) -> None:
        assert network.decode(torch.zeros(2, 4)).shape == (2, 1, 28, 28)

    ours, theirs = (build("conv", LARGE, depth=4, channels=2) for _ in range(2))
    for layer in theirs.decoder:
        if isinstance(layer, nn.ConvTranspose2d):
            layer.output_padding = (1, 1)  # every layer doubles: 2, 4, 8, 16, 32
    only_ours(check, ours, theirs)


def test_a_unet_goes_up_through_the_sizes_of_its_skips() -> None:
    def check(network: Autoencoder) -> None:
        network.objective(torch.rand(2, 1, 28, 28))

    ours, theirs = (build("unet", LARGE, channels=2, skip_dropout=0.0) for _ in range(2))
    theirs.sizes = [(32, 32), (16, 16), (8, 8), (4, 4)]  # doubled from the inside, where the skips have 28, 14 and 7
    only_ours(check, ours, theirs, RuntimeError)


def test_a_unets_code_is_its_bottleneck() -> None:
    network = build("unet", LARGE)

    def check(encode: Callable[[Tensor], Tensor]) -> None:
        assert encode(torch.rand(2, 1, 28, 28)).flatten(1).shape == (2, 4)

    only_ours(check, network.encode, lambda x: torch.relu(network.from_code(network.encode(x))))


def test_training_knows_no_test_record(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("prepare", "resolve"):
        (tmp_path / "artifacts" / folder).mkdir(parents=True)
    for name in ("train.npy", "validation.npy", "manifest.json"):
        shutil.copy(finished / "artifacts/prepare" / name, tmp_path / "artifacts/prepare")
    for name in ("components", "requirements.lock"):  # their digests name the run
        (tmp_path / name).symlink_to(ROOT / name)
    plan = json.loads((finished / "artifacts/resolve/vanilla.json").read_text())
    plan["train"] |= {"epochs": 2, "schedule": "plateau"}
    (tmp_path / "artifacts/resolve/vanilla.json").write_text(json.dumps(plan))
    monkeypatch.chdir(tmp_path)
    load = splits.load_records

    def check(judge: str) -> None:
        """The stage, its epochs and its schedule judged by a split."""
        monkeypatch.setattr(splits, "load_records", lambda split: load(judge if split == "validation" else split))
        train("vanilla", 7, lambda _: None, tmp_path / "trained")

    check("validation")
    with pytest.raises(UserError, match=r"test\.npy"):
        check("test")


def test_a_threshold_holds_for_records_that_training_did_not_see() -> None:
    digits = (load_digits().images[:, None] * 15.9375).astype(np.uint8)
    model = PCA(IMAGE, PcaParams(latent_dim=24))  # knows 40 records almost by heart
    model.fit([Unit()(torch.from_numpy(digits[:40]))])
    seen, calibration, fresh = (
        score_records(model, Unit(), digits[part]) for part in np.split(np.r_[:1240], [40, 640])
    )

    def check(threshold: float) -> None:
        assert (fresh > threshold).mean() < 0.08

    only_ours(check, Calibration.fit(calibration, 0.05).threshold, float(np.percentile(seen, 95)))


def test_denoising_is_validated_on_noise() -> None:
    def check(terms: Callable[[Any, Tensor], dict[str, Tensor]]) -> None:
        weak, strong = (build("denoising", strength=strength).eval() for strength in (0.01, 0.9))
        x = torch.rand(20, 1, 8, 8)
        assert not torch.allclose(terms(weak, x)["reconstruction"], terms(strong, x)["reconstruction"])

    only_ours(check, lambda model, x: model.objective(x), lambda model, x: model.base.objective(x))


def test_what_stands_beside_pca_is_in_pcas_units() -> None:
    x = torch.rand(50, 1, 8, 8)

    def check(error: Callable[[Tensor, Tensor], Tensor]) -> None:
        assert not error(x, x).any()  # nothing is left where nothing is lost
        assert torch.allclose(error(x, x + 0.1), torch.tensor(0.01))

    only_ours(check, reconstruction_error, lambda x, y: F.binary_cross_entropy(y, x, reduction="none").mean((1, 2, 3)))


def test_squared_error_has_pcas_linear_output() -> None:
    linear, squeezed = build("vanilla", loss="mse"), build("vanilla", loss="bce")

    def check(network: Autoencoder) -> None:
        black_and_white = torch.tensor([[[[0.0, 1.0]]]])
        assert torch.equal(network.activate(black_and_white), black_and_white)

    only_ours(check, linear, squeezed)


def test_images_are_scored_as_images() -> None:
    network = build("conv")

    def check(brought: Callable[[np.ndarray], np.ndarray]) -> None:
        assert score_records(network, Unit(), brought(blobs(20).numpy())).shape == (20,)

    only_ours(check, lambda images: images, lambda images: images.reshape(len(images), -1), RuntimeError)


def scattered(x: Tensor, amount: float) -> Tensor:
    """White, then black values at places that are drawn with replacement."""
    noisy = x.clone().flatten()
    for value in (1.0, 0.0):
        noisy[torch.randint(len(noisy), (int(amount * len(noisy) / 2),))] = value
    return noisy.view_as(x)


def test_salt_and_pepper_change_the_share_that_was_asked_for() -> None:
    def check(noise: Callable[[Tensor, float], Tensor]) -> None:
        torch.manual_seed(0)
        noisy = noise(torch.full((200, 1, 10, 10), 0.5), 0.6)
        for value in (0.0, 1.0):
            assert float((noisy == value).float().mean()) == pytest.approx(0.3, abs=0.01)

    only_ours(check, denoising.salt_pepper, scattered)


def test_validation_minimises_what_training_minimises(tmp_path: Path) -> None:
    row = fit(trainer("contractive", epochs=1), tmp_path).history[0]

    def check(row: dict[str, float]) -> None:
        terms = {name.removeprefix("validation_") for name in row if name.startswith("validation_")}
        assert terms == {name.removeprefix("train_") for name in row if name.startswith("train_")}
        assert row["validation_loss"] > row["validation_reconstruction"]

    reconstruction = row["validation_reconstruction"]
    without = {name: value for name, value in row.items() if name != "validation_contraction"}
    only_ours(check, row, {**without, "validation_loss": reconstruction})


def test_a_mean_over_batches_is_the_mean_over_records() -> None:
    values = torch.arange(10.0)

    def by_sums(batches: Iterator[Tensor]) -> float:
        sums: dict[str, Tensor] = {}
        for batch in batches:
            add_sums(sums, {"loss": batch})
        return float(sums["loss"]) / len(values)

    def check(mean: Callable[[Iterator[Tensor]], float]) -> None:
        assert mean(values.split(4)) == pytest.approx(4.5)

    only_ours(check, by_sums, lambda batches: float(torch.stack([batch.mean() for batch in batches]).mean()))


def test_removed_arguments_are_not_needed() -> None:
    def check(make: Callable[[], object]) -> None:
        make()

    plateau, refusals = Params(schedule="plateau", plateau_epochs=1, learning_rate=1.0), (TypeError, UserWarning)
    only_ours(
        check,
        lambda: rate(begin(2, [1.0, 1.0], plateau)),
        lambda: ReduceLROnPlateau(torch.optim.SGD([torch.zeros(1)]), verbose=True),
        refusals,
    )
    only_ours(check, Features, lambda: vgg16(pretrained=True), refusals)  # warned of, and a warning is an error here


def test_noise_leaves_standardised_rows_their_negative_values() -> None:
    x = torch.randn(400, 30)

    def check(noise: Callable[[Tensor], Tensor]) -> None:
        assert float(noise(x).mean()) == pytest.approx(float(x.mean()), abs=0.02)

    ours = build("denoising", ROW, "mse", strength=0.1).corrupt
    only_ours(check, ours, lambda x: denoising.gaussian(x, 0.1).clamp(0, 1))


def test_a_network_in_pcas_space_can_say_what_pca_says() -> None:
    network = build("hybrid", ROW, "mse", pca_components=8)
    scores = torch.randn(50, 8)

    def check(output: Callable[[Tensor], Tensor]) -> None:
        assert torch.allclose(output(scores), scores @ network.components, atol=1e-5)

    network.decoder = nn.Identity()  # a network that has learned its task
    only_ours(check, network.decode, lambda code: torch.sigmoid(code) @ network.components)


def test_errors_of_training_records_are_measured_as_those_of_others_are() -> None:
    network, records = build("batchnorm", dropout=0.5).train(), blobs(50)

    def check(errors: Callable[[], np.ndarray]) -> None:
        assert np.array_equal(errors(), errors())  # no dropout, no statistics of the batch

    def as_in_training() -> np.ndarray:
        x = Unit()(records)
        return reconstruction_error(x, network.train()(x)[0]).detach().numpy()

    only_ours(check, lambda: score_records(network, Unit(), records.numpy()), as_in_training)


@pytest.mark.parametrize("text", [__doc__, (ROOT / "docs/guide.md").read_text()], ids=["here", "docs/guide.md"])
def test_every_test_that_is_named_exists(text: str) -> None:
    named = re.findall(r"(?:(test_\w+\.py)::)?(test_\w+)(?!\w|\.py)", text)
    assert len(named) >= 14
    for file, name in named:
        tree = ast.parse((Path(__file__).parent / (file or Path(__file__).name)).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, (file, name)

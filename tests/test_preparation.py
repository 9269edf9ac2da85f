"""What some models do before their first step: fit PCA, pretrain layers; once, repeatably, and never again on resuming.

References: scikit-learn's PCA, an untrained network, an undisturbed run.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import decomposition
from torch import nn

from components.data.item import Item
from components.models import Autoencoder, Blueprint
from components.models.pca import PCA, Params
from components.params.train import Params as TrainParams
from components.runtime.errors import UserError
from components.training.checkpoint import Checkpoints
from components.training.planning import loss_of
from components.training.records import InMemory
from components.training.trainer import Trainer

ROW = Item((12,), False)
RECORDS = torch.from_numpy(
    np.random.default_rng(0).normal(size=(300, 12)) @ np.random.default_rng(1).normal(size=(12, 12))
).float()


def build(name: str, base: str | None = None, **params: Any) -> Autoencoder:
    torch.manual_seed(0)
    own, under = (
        ({"latent_dim": 3, **params}, None) if base is None else ({"latent_dim": 3}, {"latent_dim": 3, **params})
    )
    return Blueprint(name, own, base, under, ROW, "mse").build()


def batches() -> Iterator[torch.Tensor]:
    yield from RECORDS.split(64)


def trainer(network: Autoencoder, epochs: int = 3) -> Trainer:
    return Trainer(network, nn.Identity(), TrainParams(epochs=epochs), 3, "float32", "variants.x")


def test_whitened_pca_is_scikit_learns() -> None:
    model = PCA(ROW, Params(latent_dim=5, whiten=True))
    model.fit(batches())
    reference = decomposition.PCA(5, svd_solver="full", whiten=True).fit(RECORDS.numpy())
    reconstruction, code = (value.numpy() for value in model(RECORDS))
    assert np.allclose(np.abs(code), np.abs(reference.transform(RECORDS.numpy())), atol=1e-4)
    plain = PCA(ROW, Params(latent_dim=5))
    plain.fit(batches())
    assert np.allclose(reconstruction, plain(RECORDS)[0].numpy(), atol=1e-4)


def test_a_direction_without_variance_is_whitened_to_zero() -> None:
    flat = torch.cat([RECORDS[:, :1], torch.ones(300, 11)], 1)
    model = PCA(ROW, Params(latent_dim=3, whiten=True))
    model.fit([flat])
    assert float(model(flat)[1][:, 1:].abs().max()) < 0.1
    assert torch.allclose(model(flat)[0], flat, atol=1e-4)


def test_a_hybrid_measures_its_error_on_the_record_and_cannot_beat_its_projection() -> None:
    model = build("hybrid", pca_components=6)
    model.prepare_for(batches)
    reference = decomposition.PCA(6).fit(RECORDS.numpy())
    rest = np.square(reference.inverse_transform(reference.transform(RECORDS.numpy())) - RECORDS.numpy()).mean(1)
    assert np.allclose(model.speciality(RECORDS)["projection_mse"].numpy(), rest, atol=1e-4)
    with torch.no_grad():
        errors = model.objective(RECORDS)["reconstruction"].numpy()
    assert np.allclose(errors, (model(RECORDS)[0].detach() - RECORDS).square().mean(1).numpy(), atol=1e-5)
    assert (errors >= rest - 1e-4).all()


def test_a_hybrids_space_lies_between_code_and_record() -> None:
    for wrong in (2, 13):
        message = rf"pca_components must be between latent_dim \(3\) and the record's size \(12\), got {wrong}"
        with pytest.raises(UserError, match=message):
            build("hybrid", pca_components=wrong)


def test_too_few_records_for_a_preparation_are_the_users_to_mend(tmp_path: Path) -> None:
    subject = trainer(build("hybrid", pca_components=12))
    message = r"variants\.x: PCA with 12 components needs more than 9 training records; choose a smaller code"
    with pytest.raises(UserError, match=message):
        subject.fit(InMemory(RECORDS[:9]), InMemory(RECORDS[9:20]), Checkpoints("x", "key", tmp_path), lambda _: None)


def test_a_loss_that_a_model_does_not_have_is_refused() -> None:
    with pytest.raises(UserError, match=r"variants\.x\.loss: 'hybrid' has no loss but 'mse', got 'bce'"):
        loss_of(["denoising", "hybrid"], "bce", ROW, "variants.x")
    assert loss_of(["denoising", "hybrid"], "auto", ROW, "variants.x") == "mse"


def test_pretraining_teaches_each_layer_and_touches_no_other() -> None:
    model = build("stacked", hidden=[10, 8], pretrain_epochs=40, pretrain_learning_rate=0.01)
    torch.manual_seed(1)
    before = float(model.layer_loss(RECORDS, 0).mean().detach())
    seen: list[list[torch.Tensor]] = []

    def watched() -> Iterator[torch.Tensor]:
        seen.append([weight.detach().clone() for weight in model.parameters()])
        yield from batches()

    model.prepare_for(watched)
    assert len(seen) == 3 * 40
    linear = [layer for layer in model.encoder if isinstance(layer, nn.Linear)]
    for level, layer in enumerate(linear):
        trained_before, trained_after = seen[40 * level][2 * level], seen[40 * level + 39][2 * level]
        assert not torch.equal(trained_before, trained_after)
        if level < 2:
            assert torch.equal(seen[-1][2 * level], layer.weight)
    assert float(model.layer_loss(RECORDS, 0).mean().detach()) < 0.5 * before
    with torch.no_grad():
        untrained = build("stacked", hidden=[10, 8]).objective(RECORDS)["reconstruction"].mean()
        assert float(model.objective(RECORDS)["reconstruction"].mean()) < 0.8 * float(untrained)


@pytest.mark.parametrize(("name", "base"), [("stacked", None), ("hybrid", None), ("denoising", "stacked")])
def test_a_run_broken_off_is_not_prepared_twice_and_ends_with_the_same_weights(
    name: str, base: str | None, tmp_path: Path
) -> None:
    undisturbed = trainer(build(name, base))
    expected = undisturbed.fit(
        InMemory(RECORDS[:250]), InMemory(RECORDS[250:]), Checkpoints("x", "key", tmp_path / "a"), lambda _: None
    )

    def break_off(epoch: Any) -> None:
        raise KeyboardInterrupt

    checkpoints = Checkpoints("x", "key", tmp_path / "b")
    with pytest.raises(KeyboardInterrupt):
        trainer(build(name, base)).fit(InMemory(RECORDS[:250]), InMemory(RECORDS[250:]), checkpoints, break_off)
    resumed = trainer(build(name, base))
    resumed.network.prepare_for = None  # type: ignore[assignment, method-assign]
    assert (
        resumed.fit(InMemory(RECORDS[:250]), InMemory(RECORDS[250:]), checkpoints, lambda _: None).history
        == expected.history
    )
    for key, tensor in resumed.network.state_dict().items():
        assert torch.equal(tensor, undisturbed.network.state_dict()[key]), key


def test_models_without_a_preparation_need_none() -> None:
    build("vanilla").prepare_for(lambda: pytest.fail("no pass was needed"))

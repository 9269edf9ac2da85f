"""What single models of the zoo promise beyond the contract of tests/test_models.py.

References: torch's own layers and losses, scikit-learn's PCA, closed forms; each test names its own.
"""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import decomposition
from torch import nn

from components.data.item import Item
from components.layers.dense import BatchNorm
from components.models import Autoencoder, Blueprint, Loss, find
from components.objectives import LOSSES
from components.runtime.errors import UserError

ROW, IMAGE = Item((30,), False), Item((1, 8, 8), True)


def build(name: str, item: Item = ROW, loss: Loss = "mse", **params: Any) -> Autoencoder:
    torch.manual_seed(0)
    given = {"latent_dim": 4, **params}
    return Blueprint(name, find(name).params(**given).model_dump(), None, None, item, loss).build()


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        ("relu", torch.relu),
        ("tanh", torch.tanh),
        ("leaky_relu", lambda x: torch.where(x > 0, x, 0.2 * x)),
        ("elu", lambda x: torch.where(x > 0, x, torch.expm1(x))),
    ],
)
def test_vanilla_has_the_activation_it_is_given(activation: str, function: Any) -> None:
    model, x = build("vanilla", hidden=[9], activation=activation), torch.randn(5, 30)
    first, last = model.encoder[0], model.encoder[2]
    assert torch.allclose(model.encode(x), last(function(first(x))))


@pytest.mark.parametrize(
    ("output", "loss", "function"),
    [
        ("auto", "mse", lambda x: x),
        ("auto", "bce", torch.sigmoid),
        ("linear", "l1", lambda x: x),
        ("tanh", "huber", torch.tanh),
        ("sigmoid", "mse", torch.sigmoid),
        ("sigmoid", "bce", torch.sigmoid),
    ],
)
def test_vanilla_ends_in_the_output_it_is_given_and_is_trained_on_it(output: str, loss: Loss, function: Any) -> None:
    model, x = build("vanilla", IMAGE, loss, hidden=[9], output=output), torch.rand(5, 1, 8, 8)
    code = model.encode(x)
    plain = model.decoder[2](model.decoder[1](model.decoder[0](code))).view(x.shape)
    assert torch.allclose(model.decode(code), function(plain))
    # once, not twice: what bce makes of logits is its own sigmoid, all other losses compare what is put out
    given = plain if loss == "bce" else function(plain)
    assert torch.allclose(model.objective(x)["reconstruction"], LOSSES[loss].distance(given, x, IMAGE))
    model.objective(x)["reconstruction"].mean().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in model.parameters())


@pytest.mark.parametrize(
    ("output", "loss", "item", "fitting"),
    [
        ("tanh", "bce", IMAGE, "auto or sigmoid"),
        ("linear", "bce", IMAGE, "auto or sigmoid"),
        ("sigmoid", "mixed", Item((30,), False, ((2, 5),)), "auto"),
    ],
)
def test_an_output_that_the_loss_cannot_use_is_refused(output: str, loss: Loss, item: Item, fitting: str) -> None:
    message = rf"^variants: output '{output}' does not go with loss '{loss}', which needs output {fitting}; change"
    with pytest.raises(UserError, match=message):
        build("vanilla", item, loss, output=output)


def test_batch_norm_takes_one_record_by_its_running_statistics() -> None:
    layer, reference = BatchNorm(3), nn.BatchNorm1d(3)
    x = torch.randn(40, 3)
    assert torch.equal(layer(x), reference(x))
    assert torch.equal(layer(x[:1]), reference.eval()(x[:1]))
    assert torch.equal(layer.running_mean, reference.running_mean)


def test_batchnorm_normalises_before_the_activation_and_drops_in_the_decoder_only() -> None:
    model = build("batchnorm", hidden=[9, 7], dropout=0.5)
    assert [type(layer) for layer in model.encoder] == [nn.Linear, BatchNorm, nn.ReLU] * 2 + [nn.Linear]
    assert [type(layer) for layer in model.decoder] == [nn.Linear, BatchNorm, nn.ReLU, nn.Dropout] * 2 + [nn.Linear]
    x = torch.randn(20, 30)
    assert torch.equal(model.encode(x), model.encode(x))
    code = model.encode(x)
    assert not torch.equal(model.decode(code), model.decode(code))


def test_a_residual_block_adds_to_its_input_and_is_the_identity_where_it_adds_nothing() -> None:
    model, x = build("residual", hidden=[16], blocks=2).eval(), torch.rand(20, 16)
    assert len(model.encoder) == 3 + 2 + 1
    block = model.encoder[3]
    assert torch.equal(block(x), torch.relu(x + block.change(x)))
    assert 0 < float((block(x) - x).abs().max().detach()) < 0.5
    nn.init.zeros_(block.change[-1].weight)
    assert torch.equal(block(x), x)


def test_tied_decodes_with_the_encoders_weights_transposed() -> None:
    model, code = build("tied", hidden=[9], activation="tanh"), torch.randn(5, 4)
    outer, inner = model.layers
    assert torch.allclose(model.decode_logits(code), torch.tanh(code @ inner.weight) @ outer.weight, atol=1e-6)
    weights = sum(parameter.numel() for parameter in model.parameters())
    assert weights == 30 * 9 + 9 * 4 + 2 * 9 + 4 + 30


def test_linear_and_tied_reaches_the_error_of_pca_within_one_percent() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(400, 30)) * 0.8 ** np.arange(30)).float() + 0.1
    model = build("tied", hidden=[], activation="linear")
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - step / 400)
        optimizer.zero_grad()
        model.objective(x)["reconstruction"].mean().backward()
        optimizer.step()
    reference = decomposition.PCA(4).fit(x.numpy())
    error = np.square(reference.inverse_transform(reference.transform(x.numpy())) - x.numpy()).mean()
    assert error * 0.999 <= float((model(x)[0] - x).detach().square().mean()) <= 1.01 * error

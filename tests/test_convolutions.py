"""Convolutional models return every image to its size, and a U-Net's code stands alone where it counts.

References: shapes, torch's own pooling, the same network with its skips cut.
"""

from typing import Any

import pytest
import torch

from components.data.item import Item
from components.layers.images import RecordNorm
from components.models import Autoencoder, Blueprint, find


def build(name: str, shape: tuple[int, int, int] = (1, 8, 8), **params: Any) -> Autoencoder:
    torch.manual_seed(0)
    given = find(name).params(**{"latent_dim": 4, "channels": 4, **params}).model_dump()
    return Blueprint(name, given, None, None, Item(shape, True), "bce").build()


@pytest.mark.parametrize("name", ["conv", "conv_pooling", "unet"])
@pytest.mark.parametrize("shape", [(1, 2, 9), (1, 1, 16), (1, 3, 3), (3, 5, 11)])
def test_small_and_odd_images_come_back_with_dark_pixels(name: str, shape: tuple[int, int, int]) -> None:
    model = build(name, shape)
    logits = model.decode_logits(torch.randn(50, 4)).detach()
    assert logits.shape == (50, *shape)
    assert float(logits.min()) < 0


def test_pooling_goes_through_the_sizes_that_halving_names() -> None:
    model, sizes = build("conv_pooling", (1, 50, 37)), []
    for layer in (*model.encoder, *model.decoder):
        if isinstance(layer, torch.nn.MaxPool2d | torch.nn.Upsample):
            layer.register_forward_hook(lambda _, __, out: sizes.append(tuple(out.shape[2:])))
    model(torch.rand(2, 1, 50, 37))
    assert sizes == [(25, 19), (13, 10), (7, 5), (13, 10), (25, 19), (50, 37)]


def test_the_norm_of_a_record_is_torchs_group_norm_of_one_group() -> None:
    x = torch.randn(5, 6, 4, 3)
    assert torch.equal(RecordNorm(6)(x), torch.nn.GroupNorm(1, 6)(x))


def test_a_unet_trains_with_skips_and_is_judged_without() -> None:
    model, x = build("unet", skip_dropout=0.0), torch.rand(6, 1, 8, 8)
    code, skips = model.eval().encode_with_skips(x)
    assert [tuple(skip.shape) for skip in skips] == [(6, 4, 8, 8), (6, 8, 4, 4)]
    alone, with_skips = model.decode_logits(code), model.decode_with_skips(code, skips)
    assert not torch.allclose(alone, with_skips)
    judged = model.objective(x)["reconstruction"]
    assert torch.equal(judged, model.reconstruction_loss(alone, x))
    assert torch.equal(model(x)[0], torch.sigmoid(alone))


def test_a_unet_drops_all_skips_of_a_record_at_once() -> None:
    model, x = build("unet", skip_dropout=0.5), torch.rand(40, 1, 8, 8)
    losses = model.train().objective(x)["reconstruction"]
    # batch norm is in the encoder only and sees the same batch each time, so a record has two possible losses
    code, skips = model.encode_with_skips(x)
    with_skips = model.reconstruction_loss(model.decode_with_skips(code, skips), x)
    alone = model.reconstruction_loss(model.decode_logits(code), x)
    hit = torch.isclose(losses, alone, atol=1e-6)
    assert (hit | torch.isclose(losses, with_skips, atol=1e-6)).all()
    assert 8 < int(hit.sum()) < 32


def test_a_unets_leak_is_what_its_skips_take_away_from_the_codes_error() -> None:
    model, x = build("unet", latent_dim=1, skip_dropout=0.3), torch.rand(64, 1, 8, 8)
    optimizer = torch.optim.Adam(model.train().parameters(), 0.01)
    for _ in range(100):
        optimizer.zero_grad()
        model.objective(x)["reconstruction"].mean().backward()
        optimizer.step()
    with torch.no_grad():
        found = {name: float(value.mean()) for name, value in model.eval().speciality(x).items()}
        alone = float((model(x)[0] - x).square().mean())
    # noise does not fit into one number: only a copy can come close
    assert found["skip_mse"] < 0.3 * alone
    assert found["skip_leak"] > 0.7

"""Perceptual loss: distance between features of VGG16, which see edges and textures where pixels see their average.

Papers: Johnson, Alahi and Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016;
Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015.
Departures: the mean over three depths (relu1_2, relu2_2, relu3_3), so that the first anchors colour and brightness.
Limits: features of photographs; on other pictures they are a guess. Costs far more than a small network's own step.
The weights are the user's file: nothing is downloaded, and a pickled file is read as tensors only.
"""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from components.data.item import Item

_CHANNELS = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256))
"""Of each block's convolutions; a pooling stands between blocks."""
_TAPS = (3, 8, 15)  # the last activation of each block
_SMALLEST = 32  # pixels; smaller images are enlarged, or two poolings would leave nothing to compare
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, in 0..1


class Features(nn.Module):
    """The first ten layers of VGG16 with frozen weights, named as in torchvision's `vgg16().features`."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for block in _CHANNELS:
            for before, after in itertools.pairwise(block):
                layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:-1])
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (batch, channel, height, width) in 0..1 to the features at each depth."""
        x = (enlarge(as_colour(images)) - self.mean) / self.deviation
        found = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in _TAPS:
                found.append(x)
        return found


def as_colour(images: Tensor) -> Tensor:
    """Three channels (batch, 3, height, width): any other number is shown as its mean in grey."""
    return images if images.shape[1] == 3 else images.mean(1, keepdim=True).expand(-1, 3, -1, -1)


def enlarge(images: Tensor) -> Tensor:
    """Repeat pixels a whole number of times until the shorter side has 32; unlike an interpolation, its gradient is
    the same sum on every run of a GPU.
    """
    count, channels, height, width = images.shape
    times = -(-_SMALLEST // min(height, width))
    if times == 1:
        return images
    repeated = images[:, :, :, None, :, None].expand(-1, -1, -1, times, -1, times)
    return repeated.reshape(count, channels, height * times, width * times)


def load_perceptual(file: Path, device: torch.device) -> Callable[[Tensor, Tensor, Item], Tensor]:
    """The loss made of a file that holds VGG16's weights, whole or its first seven convolutions only.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read as tensors or lacks a layer.
    """
    network = Features()
    wanted = network.state_dict()
    found = _read(file)
    if missing := [name for name in wanted if name not in found or found[name].shape != wanted[name].shape]:
        raise ValueError(f"has no '{missing[0]}' of vgg16's shape")
    network.load_state_dict({name: found[name] for name in wanted})
    network.to(device).eval()

    # a function, not a module: the network it holds must enter neither the model's weights nor its exports
    def perceptual(output: Tensor, target: Tensor, item: Item) -> Tensor:
        del item
        pairs = zip(network(output), network(target), strict=True)
        return torch.stack([(ours - theirs).square().flatten(1).mean(1) for ours, theirs in pairs]).mean(0)

    return perceptual


def _read(file: Path) -> Mapping[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        found = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError):
        raise ValueError("holds no tensors that can be read without running code") from None
    if not isinstance(found, Mapping):
        raise ValueError("holds no state dict")
    return found

"""Structural similarity as a loss: local brightness, contrast and pattern instead of single pixels.

Paper: Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity",
IEEE Transactions on Image Processing 13, 2004.
Departures: windows are cut at the image's edge and their weights sum to 1 again, where the paper leaves edges out; so
every pixel is trained and images smaller than a window work.
"""

import torch
from torch import Tensor

from components.data.item import Item

_RADIUS, _SIGMA = 5, 1.5  # 11 x 11 pixels
_C1, _C2 = 0.01**2, 0.03**2  # for values in 0..1


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Mean similarity of two images, at most 1. Shapes: (batch, channel, height, width) twice -> (batch,)."""
    return similarity(x, y).flatten(1).mean(1)


def similarity(x: Tensor, y: Tensor) -> Tensor:
    """Similarity around each pixel, at most 1. Shapes: (batch, channel, height, width), three times."""
    # variances are small differences of large numbers, which bf16 would round away
    with torch.autocast(x.device.type, enabled=False):
        x, y = x.float(), y.float()
        down, right = (_window(side, x.device) for side in x.shape[2:])

        def local(image: Tensor) -> Tensor:
            return down @ image @ right.T

        mean_x, mean_y = local(x), local(y)
        variance = local(x * x) - mean_x.square() + local(y * y) - mean_y.square()
        covariance = local(x * y) - mean_x * mean_y
        brightness = (2 * mean_x * mean_y + _C1) / (mean_x.square() + mean_y.square() + _C1)
        return brightness * (2 * covariance + _C2) / (variance + _C2)


def structural(output: Tensor, target: Tensor, item: Item) -> Tensor:
    """1 - SSIM of each record (batch,)."""
    del item
    return 1 - ssim(output, target)


def _window(side: int, device: torch.device) -> Tensor:
    """Weights (position, pixel) of a Gaussian around each position; a product with it is a blur along one side."""
    place = torch.arange(side, device=device, dtype=torch.float32)
    distance = (place[:, None] - place).abs()
    weights = torch.exp(-distance.square() / (2 * _SIGMA**2)) * (distance <= _RADIUS)
    return weights / weights.sum(1, keepdim=True)

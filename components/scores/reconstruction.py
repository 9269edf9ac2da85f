"""Error of the reconstruction, value by value; the default, by squared errors.

Papers: Hawkins et al., "Outlier Detection Using Replicator Neural Networks", DaWaK 2002; for ssim Bergmann et al.,
"Improving Unsupervised Defect Segmentation by Applying Structural Similarity to Autoencoders", VISAPP 2019.
Departures: one measure for every model, whatever it was trained on.
Limits: a code that is too large reconstructs strange records as well as normal ones.
"""

from typing import Literal

import torch
from torch import Tensor

from components.data.item import Item
from components.objectives.ssim import similarity
from components.scores import Decode, Score, ScoreEntry, ScoreParams

_MEANING = {"mse": "mean squared error", "l1": "mean absolute error", "bce": "cross-entropy", "ssim": "(1 - SSIM) / 2"}
_SURE = 1e-6  # float32 rounds a saturated sigmoid to 0 or 1


class Params(ScoreParams):
    """How a value and its reconstruction are compared."""

    measure: Literal["mse", "l1", "bce", "ssim"] = "mse"
    """mse: squared, l1: absolute; bce: the binary cross-entropy beyond that of a perfect reconstruction, ssim: 1 - the
    structural similarity around each pixel, halved (both images only)."""


class Reconstruction(Score):
    """The mean over a record's values."""

    @property
    def meaning(self) -> str:
        """See `Score`."""
        return f"{_MEANING[self.params.measure]} in scaled units"

    def forward(self, x: Tensor, x_hat: Tensor, code: Tensor) -> Tensor:
        """See `Score`."""
        del code
        return self._errors(x, x_hat).flatten(1).mean(1)

    def contributions(self, x: Tensor, x_hat: Tensor, code: Tensor, decode: Decode) -> Tensor:
        """See `Score`."""
        del code, decode
        return self._errors(x, x_hat) / self.item.size

    def _errors(self, x: Tensor, x_hat: Tensor) -> Tensor:
        measure = self.params.measure
        if measure == "mse":
            return (x_hat - x).square()
        if measure == "l1":
            return (x_hat - x).abs()
        if measure == "ssim":
            return (1 - similarity(x_hat, x)) / 2
        return (_cross_entropy(x, x_hat) - _cross_entropy(x, x)).clamp(min=0)


def _cross_entropy(x: Tensor, x_hat: Tensor) -> Tensor:
    sure = x_hat.clamp(_SURE, 1 - _SURE)
    return -(x * torch.log(sure) + (1 - x) * torch.log(1 - sure))


def _check(params: Params, item: Item) -> None:
    if params.measure in ("bce", "ssim") and not item.is_image:
        raise ValueError(f"measure '{params.measure}' needs images, the records are rows; use mse or l1")


SCORE = ScoreEntry(Reconstruction, Params, "error of the reconstruction: mse, l1, bce or ssim", check=_check)

"""Signs in what a trained model makes of validation records: its reconstructions and its codes.

Paper: Roy and Vetterli, "The Effective Rank", EUSIPCO 2007.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from components.data.item import Item
from components.diagnosing import Answer, Check, graded, graded_down
from components.models import Autoencoder

SAMPLE = 2048
"""Validation records looked at, at most; the first ones, since records come in no order."""
VALUES = 1 << 24
"""Values looked at, at most: of wide records fewer are taken, so that memory does not grow with their width."""
_EXPLAINS = 0.5  # share of the variance below which a model says too little for some questions to have a meaning


@dataclass(frozen=True)
class Observed:
    """What the checks look at; everything in scaled units."""

    x: np.ndarray
    """(record, *item) float64"""
    x_hat: np.ndarray
    """(record, *item) float64"""
    codes: np.ndarray
    """(record, code) float64"""
    shuffled_mse: float
    """Squared error on records whose values were shuffled."""
    ratio_to_pca: tuple[float, float] | None
    """Interval of the validation error relative to PCA's; None for a closed form."""

    @property
    def mse(self) -> float:
        """Squared error on the records as they are."""
        return float(np.square(self.x_hat - self.x).mean())

    @property
    def unexplained(self) -> float:
        """Squared error relative to that of answering with the mean record."""
        return self.mse / max(float(self.x.var(0).mean()), 1e-12)


@torch.no_grad()
def observe(
    model: Autoencoder, scale: nn.Module, records: np.ndarray, ratio: tuple[float, float] | None, seed: int
) -> Observed:
    """Look at raw validation records (record, *item), on the CPU; `seed` shuffles."""
    x = scale(torch.from_numpy(np.array(records[: min(SAMPLE, max(1, VALUES // model.item.size))])))
    x_hat, codes = model.eval()(x)
    shuffled = torch.from_numpy(shuffle(x.numpy(), model.item, seed))
    error = float((model(shuffled)[0] - shuffled).double().square().mean())
    return Observed(*(tensor.double().numpy() for tensor in (x, x_hat, codes)), error, ratio)


def shuffle(x: np.ndarray, item: Item, seed: int) -> np.ndarray:
    """Records without structure, the same values in other places (record, *item).

    The pixels of an image change places within it; the columns of rows are dealt anew among the records, each by itself
    and the levels of one column together, so that every column keeps its distribution and loses its company.
    """
    generator, flat = np.random.default_rng(seed), x.reshape(len(x), -1)
    if item.is_image:
        return generator.permuted(flat, axis=1).reshape(x.shape)
    result, grouped = flat.copy(), {value for start, stop in item.groups for value in range(start, stop)}
    singles = [(value, value + 1) for value in range(flat.shape[1]) if value not in grouped]
    for start, stop in (*item.groups, *singles):
        result[:, start:stop] = flat[generator.permutation(len(x)), start:stop]
    return result.reshape(x.shape)


def not_finite(observed: Observed) -> Answer:
    """Records whose reconstruction or code holds a value that is no finite number."""
    finite = [np.isfinite(values.reshape(len(values), -1)).all(1) for values in (observed.x_hat, observed.codes)]
    return graded(int((~np.logical_and(*finite)).sum()), 1, 1)


def constant_output(observed: Observed) -> Answer:
    """Variance of the reconstructions across records, relative to that of the records."""
    return graded_down(float(observed.x_hat.var(0).mean() / max(observed.x.var(0).mean(), 1e-12)), 0.1, 0.02)


def blurry(observed: Observed) -> Answer | None:
    """Energy above half the highest frequency, of reconstructions relative to records (images).

    Of what differs from the mean record: its detail is there for nothing.
    """
    if observed.x.ndim != 4 or min(observed.x.shape[2:]) < 4:
        return None
    usual = observed.x.mean(0)
    there = _high_energy(observed.x - usual)
    return graded_down(_high_energy(observed.x_hat - usual) / there, 0.2, 0.1) if there else None


def dead_code(observed: Observed) -> Answer:
    """Share of code units that are the same for every record: below a thousandth of the liveliest one's deviation."""
    deviation = observed.codes.std(0)
    return graded(float((deviation <= 1e-3 * max(deviation.max(), 1e-12)).mean()), 0.1, 0.5)


def collapsed_code(observed: Observed) -> Answer | None:
    """Effective rank of the codes, relative to what their size and the number of records allow.

    It is the exponential of the entropy of the singular values: the number of directions that codes really use.
    """
    if not np.isfinite(observed.codes).all():
        return None
    sizes = np.linalg.svd(observed.codes - observed.codes.mean(0), compute_uv=False)
    if not sizes.any():
        return Answer("problem", 0.0)
    shares = sizes[sizes > 0] / sizes.sum()
    return graded_down(float(np.exp(-(shares * np.log(shares)).sum()) / len(sizes)), 0.3, 0.1)


def too_sparse(observed: Observed) -> Answer:
    """Share of records with a silent code: no unit above a hundredth of the largest one of all records."""
    sizes = np.abs(observed.codes)
    return graded(float((sizes.max(1) <= 0.01 * sizes.max()).mean()), 0.01, 0.1)


def bottleneck_large(observed: Observed) -> Answer | None:
    """Squared error on shuffled records relative to that on records: 1 for a copy, which knows no structure."""
    if not observed.unexplained < _EXPLAINS:
        return None  # a model that says little says as little about shuffled records
    return graded_down(min(observed.shuffled_mse / max(observed.mse, 1e-12), 1e3), 2.0, 1.25)


def bottleneck_small(observed: Observed) -> Answer | None:
    """Share of the variance that stays unexplained where PCA with the same code does as well: the code is the limit."""
    if observed.ratio_to_pca is None:
        return None
    if observed.ratio_to_pca[1] < 1:
        return Answer("ok", observed.unexplained)
    return graded(observed.unexplained, 0.3, 0.6)


def _high_energy(images: np.ndarray) -> float:
    """Mean energy above half the Nyquist frequency in either direction (batch, channel, height, width)."""
    down, right = np.fft.fftfreq(images.shape[2]), np.fft.rfftfreq(images.shape[3])
    high = np.maximum(np.abs(down)[:, None], right) > 0.25
    return float(np.square(np.abs(np.fft.rfft2(images)[..., high])).mean())


CHECKS: tuple[Check[Observed], ...] = (
    Check(
        "not_finite",
        "Reconstructions or codes are not finite",
        "lower train.learning_rate or train.clip_norm; look for extreme values in the data",
        not_finite,
    ),
    Check(
        "constant_output",
        "Reconstructions hardly depend on the record: outputs are constant",
        "lower train.learning_rate, use train.loss bce for images, train.init kaiming or a model with batch norm",
        constant_output,
    ),
    Check(
        "blurry",
        "Reconstructions have lost fine detail",
        "raise variants.V.latent_dim or widen the layers, or use train.loss l1, ssim or perceptual; noise may be lost",
        blurry,
    ),
    Check(
        "dead_code",
        "Code units say nothing: they are the same for every record",
        "lower train.learning_rate or the sparsity, or use a smaller variants.V.latent_dim",
        dead_code,
    ),
    Check(
        "collapsed_code",
        "Codes use few of their directions",
        "use a smaller variants.V.latent_dim, or lower penalties on the code (train.term_weights, train.term_warm_up)",
        collapsed_code,
    ),
    Check(
        "too_sparse",
        "Records have a silent code: there is too much sparsity",
        "lower the sparsity's weight (train.term_weights), raise its target or train.term_warm_up",
        too_sparse,
    ),
    Check(
        "bottleneck_large",
        "Shuffled records are reconstructed as well: the model copies, its bottleneck is too large",
        "use a smaller variants.V.latent_dim, more sparsity, or model denoising",
        bottleneck_large,
    ),
    Check(
        "bottleneck_small",
        "Much stays unexplained and PCA does as well: the bottleneck is too small",
        "raise variants.V.latent_dim",
        bottleneck_small,
    ),
)

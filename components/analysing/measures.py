"""How a set of codes is used. Shapes: codes (record, unit) float64."""

import numpy as np

TINY = 1e-12


def effective_rank(codes: np.ndarray) -> float:
    """Directions that the codes really use: exp of the entropy of the singular values' shares, of centred codes.

    Paper: Roy and Vetterli, "The Effective Rank", EUSIPCO 2007. Between 1 (or 0, where all codes are alike) and the
    number of units, which it is where all directions vary alike.
    """
    spectrum = np.linalg.svd(codes - codes.mean(0), compute_uv=False)
    if spectrum.max(initial=0) < TINY:
        return 0.0
    shares = spectrum[spectrum > TINY * spectrum.max()] / spectrum.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def variance_shares(codes: np.ndarray) -> np.ndarray:
    """Share of the variance along each principal direction (unit,), the largest first."""
    centred = codes - codes.mean(0)
    variances = np.linalg.eigvalsh(centred.T @ centred)[::-1].clip(min=0)
    return variances / max(variances.sum(), TINY)


def sparsity(values: np.ndarray, axis: int) -> np.ndarray:
    """Sparsity along an axis: 0 where all magnitudes are alike, 1 where a single one is not zero.

    Along units it is population sparsity (few units speak for a record), along records lifetime sparsity (a unit
    speaks for few records). Paper: Vinje and Gallant, "Sparse Coding and Decorrelation in Primary Visual Cortex During
    Natural Vision", Science 287, 2000. All zeros, and a single value, count as 0.
    """
    magnitude, count = np.abs(values), values.shape[axis]
    squares = np.square(magnitude).mean(axis)
    activity = np.divide(np.square(magnitude.mean(axis)), squares, out=np.ones_like(squares), where=squares > TINY**2)
    return (1 - activity) / (1 - 1 / count) if count > 1 else np.zeros_like(activity)

"""Signs in the history of a training: did it learn, at the right pace, and for what.

Falls are relative to the whole fall of the loss, so that a loss with a floor (cross-entropy, say) reads like any other.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from components.diagnosing import Answer, Check, graded

_LARGEST = 1e3  # of a ratio: JSON has no infinity
_TAIL = 0.1  # of the epochs: the end of a run


@dataclass(frozen=True)
class Learning:
    """What the checks look at."""

    history: Mapping[str, np.ndarray]
    """Columns of history.csv, (epoch,) each."""
    fit: Mapping[str, float | None]
    """fit.json: errors on train and validation."""
    term_weights: Mapping[str, float]
    """`train.term_weights`."""

    @property
    def fall(self) -> float:
        """From the first epoch's validation loss to the best."""
        losses = self.history["validation_loss"]
        return float(losses[0] - losses.min())


def no_convergence(learning: Learning) -> Answer | None:
    """Share of the fall of the validation loss that came in the last tenth of the epochs; 1 when it never fell."""
    losses = learning.history["validation_loss"]
    tail = max(1, round(_TAIL * len(losses)))
    if len(losses) < 3:
        return None
    if learning.fall <= 0:
        return Answer("problem", 1.0)
    late = float(losses[: len(losses) - tail].min() - losses.min())
    return graded(late / learning.fall, 0.05, 0.2)


def learning_rate_high(learning: Learning) -> Answer | None:
    """Sum of all rises of the training loss, relative to its whole fall: a steady descent has none.

    In logarithms, where there are any: a first epoch that exploded would dwarf whatever comes later.
    """
    losses = learning.history["train_loss"]
    if len(losses) < 3:
        return None
    losses = np.log(losses) if losses.min() > 0 else losses
    fall, rises = float(losses[0] - losses.min()), float(np.maximum(np.diff(losses), 0).sum())
    return graded(min(rises / fall, _LARGEST) if fall > 0 else _LARGEST * (rises > 0), 0.2, 1.0)


def learning_rate_low(learning: Learning) -> Answer | None:
    """Share of the fall that the second half of the epochs brought: 0.5 is a straight line, a run that barely began.

    Only where the weights stayed close to where they started; one that moved far is unfinished, not slow.
    """
    losses, moved = learning.history["validation_loss"], learning.fit["weight_change"]
    if len(losses) < 4 or moved is None:
        return None
    if learning.fall <= 0 or moved >= 0.2:
        return Answer("ok", 0.0)
    half = float(losses[: len(losses) // 2].min() - losses.min()) / learning.fall
    return graded(half, 0.3, 0.4)


def exploding_gradient(learning: Learning) -> Answer:
    """Largest gradient norm of an epoch, before clipping, relative to the first epoch's."""
    norms = learning.history["gradient_norm"]
    return graded(min(float(norms.max() / max(norms[0], 1e-12)), _LARGEST), 10, 100)


def exploding_penalty(learning: Learning) -> Answer | None:
    """Share that terms beside the reconstruction have in the size of the last validation loss."""
    prefix = "validation_"
    terms = {name.removeprefix(prefix): values for name, values in learning.history.items() if name.startswith(prefix)}
    sizes = {
        name: abs(float(values[-1])) * learning.term_weights.get(name, 1.0)
        for name, values in terms.items()
        if name != "loss"
    }
    if len(sizes) < 2 or not sum(sizes.values()):
        return None
    return graded(1 - sizes["reconstruction"] / sum(sizes.values()), 0.5, 0.9)


def validation_gap(learning: Learning) -> Answer | None:
    """Squared error on validation relative to train, both without noise or dropout."""
    ours, theirs = learning.fit["validation_mse"], learning.fit["training_mse"]
    return graded(min(ours / theirs, _LARGEST), 2.0, 4.0) if ours and theirs else None


CHECKS: tuple[Check[Learning], ...] = (
    Check(
        "no_convergence",
        "Training ended while the validation loss was still falling, or it never fell",
        "raise train.epochs, use train.schedule one_cycle, or see `python -m components.train V --probe`",
        no_convergence,
    ),
    Check(
        "learning_rate_high",
        "The training loss jumps: steps are too large",
        "lower train.learning_rate (see `python -m components.train V --probe`) or set train.warm_up",
        learning_rate_high,
    ),
    Check(
        "learning_rate_low",
        "The loss still falls in a straight line and the weights hardly moved: steps are too small",
        "raise train.learning_rate (see `python -m components.train V --probe`)",
        learning_rate_low,
    ),
    Check(
        "exploding_gradient",
        "The gradient grew manyfold during training",
        "lower train.learning_rate or train.clip_norm, or use a model with batch norm",
        exploding_gradient,
    ),
    Check(
        "exploding_penalty",
        "Terms beside the reconstruction are most of what is minimised",
        "lower their train.term_weights or the model's own weight, or raise train.term_warm_up",
        exploding_penalty,
    ),
    Check(
        "validation_gap",
        "Validation records are reconstructed much worse than training records: it over-fits",
        "add records, use a smaller variants.V.latent_dim or layers, model denoising, more train.weight_decay, "
        "or train.patience",
        validation_gap,
    ),
)

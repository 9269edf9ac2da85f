"""The section `train:`, which a variant may override key by key."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from components.params import Section


class Params(Section):
    """How networks are trained; closed-form models (PCA) ignore it."""

    epochs: int = Field(50, ge=1, le=100_000)
    """Passes over the training records at most; `patience` may end earlier."""
    batch_size: int = Field(128, ge=2)
    """Records per step; batch norm needs two."""
    learning_rate: float = Field(1e-3, gt=0, le=10)
    """Peak step size; Adam's usual 1e-3 suits most models."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """adam adds weight decay to the gradient, adamw shrinks weights directly; sgd has `momentum`."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Of sgd: share of the last step that the next one keeps."""
    weight_decay: float = Field(1e-5, ge=0, le=1)
    """Strength of the pull of weights (not of biases and norms) towards zero; 1e-6 to 1e-4 is usual."""
    init: Literal["default", "xavier", "kaiming", "orthogonal", "guide"] = "default"
    """How weights are drawn; default is the layers' own, all others set biases to zero."""
    schedule: Literal["constant", "cosine", "exponential", "one_cycle", "plateau", "step"] = "cosine"
    """How the learning rate moves over the run; plateau looks at the validation loss."""
    decay: float = Field(0.1, gt=0, lt=1)
    """Factor on the learning rate: of step at each drop, of exponential over the whole run, of plateau at each
    plateau, and at each restart."""
    drops: int = Field(2, ge=1, le=100)
    """Of step: drops, evenly over the run."""
    plateau_epochs: int = Field(5, ge=1)
    """Of plateau: epochs without a better validation loss before the learning rate drops."""
    warm_up: int = Field(0, ge=0)
    """Epochs over which the learning rate climbs from nothing to what the schedule says."""
    clip_norm: float = Field(1.0, gt=0)
    """Largest norm of the gradient over all weights; larger ones are scaled down."""
    patience: int = Field(0, ge=0)
    """Epochs without a better validation loss before training stops or restarts; 0 does neither."""
    restarts: int = Field(0, ge=0, le=100)
    """Times that the end of `patience` goes back to the best weights, with a learning rate lower by `decay`, instead of
    stopping."""
    term_weights: dict[str, Annotated[float, Field(ge=0, le=1e6)]] = Field(default_factory=dict)
    """Factor on each term of the objective, by its name in history.csv; 1 where none is given. The history keeps the
    terms without it, and losses are sums with it."""
    term_warm_up: int = Field(0, ge=0)
    """Epochs over which the factors of all terms but the reconstruction climb from nothing."""
    loss: str = "auto"
    """Reconstruction term, one of `components.objectives.LOSSES`; auto is bce for images (scaled to 0..1), mse for
    arrays, and for tables mse of numbers with cross-entropy of categories (mixed)."""
    perceptual_weights: str | None = None
    """Of loss perceptual: a file with torchvision's vgg16 weights. Its content enters the digest of a run, but DVC does
    not follow it: other weights need another name."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """auto is bf16 autocast where the hardware has it natively, float32 elsewhere; the choice stands in config.json."""
    memory_mib: int = Field(1024, ge=1)
    """MiB of training records held at a time. A larger split is read in shuffled blocks, so this number decides the
    order of its records and is no matter of speed alone; a smaller one is loaded whole, whatever the number."""
    compile: bool = False
    """torch.compile: pays on long runs only, the first step takes a minute."""

    @field_validator("loss")
    @classmethod
    def _is_known(cls, name: str) -> str:
        from components.objectives import LOSSES  # imports torch, and threads are set before that

        if name != "auto" and name not in LOSSES:
            raise ValueError(f"must be auto, {', '.join(LOSSES)}")
        return name

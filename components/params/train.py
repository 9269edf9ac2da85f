"""The section `train:`, which a variant may override key by key."""

from typing import Literal

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
    optimizer: Literal["adam", "adamw"] = "adam"
    """adam adds weight decay to the gradient, adamw shrinks weights directly."""
    weight_decay: float = Field(1e-5, ge=0, le=1)
    """Strength of the pull towards zero; 1e-6 to 1e-4 is usual."""
    schedule: Literal["constant", "cosine", "one_cycle"] = "cosine"
    """How the learning rate moves over the run."""
    clip_norm: float = Field(1.0, gt=0)
    """Largest norm of the gradient over all weights; larger ones are scaled down."""
    patience: int = Field(0, ge=0)
    """Epochs without a better validation loss before training stops; 0 never stops early."""
    loss: str = "auto"
    """Reconstruction term, one of `components.objectives.LOSSES`; auto is bce for images (scaled to 0..1), mse for
    arrays, and for tables mse of numbers with cross-entropy of categories (mixed)."""
    perceptual_weights: str | None = None
    """Of loss perceptual: a file with torchvision's vgg16 weights. Its content enters the digest of a run, but DVC does
    not follow it: other weights need another name."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """auto is bf16 autocast where the hardware has it natively, float32 elsewhere; the choice stands in config.json."""
    compile: bool = False
    """torch.compile: pays on long runs only, the first step takes a minute."""

    @field_validator("loss")
    @classmethod
    def _is_known(cls, name: str) -> str:
        from components.objectives import LOSSES  # imports torch, and threads are set before that

        if name != "auto" and name not in LOSSES:
            raise ValueError(f"must be auto, {', '.join(LOSSES)}")
        return name

"""The section `train:`, which a variant may override key by key."""

from typing import Literal

from pydantic import Field

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
    loss: Literal["auto", "mse", "bce"] = "auto"
    """Reconstruction term; auto is bce for images (scaled to 0..1), mse for arrays, and for tables mse of
    numbers with cross-entropy of categories."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """auto is bf16 autocast where the hardware has it natively, float32 elsewhere; the choice stands in config.json."""
    memory_mib: int = Field(1024, ge=1)
    """MiB of training records held at a time. A larger split is read in shuffled blocks, so this number decides the
    order of its records and is no matter of speed alone; a smaller one is loaded whole, whatever the number."""
    compile: bool = False
    """torch.compile: pays on long runs only, the first step takes a minute."""

"""Distillation: a narrower network learns what the trained one makes of records, and needs a part of its parameters.

Papers: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015; matching inner codes as in
Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015.
Departures: the code has the original's size and meaning, so whatever uses codes or is fitted to them works on.
Limits: the student is of the teacher's own kind (of its base, where it wraps one), so it is as deep.
"""

import copy
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from components.compressing import Compressed, MethodEntry, MethodParams, Original
from components.compressing.retraining import rescored, retrain
from components.models import Autoencoder, Blueprint, find
from components.params.train import Params as TrainParams
from components.runtime.errors import UserError
from components.scoring.detector import Detector
from components.training.initial import build
from components.training.weights import blueprint_of, count

STEPS = 1000
"""Widths are tried in so many steps."""
_TINY = 1e-12


class Params(MethodParams):
    """The student's size, and what it learns."""

    share: float = Field(0.1, gt=0, lt=1)
    """Of the teacher's parameters; the student is the widest that has no more."""
    epochs: int | None = Field(None, ge=1, le=100_000)
    """Passes over the training records; null: as many as the teacher's."""
    learning_rate_factor: float = Field(3.0, gt=0, le=100)
    """Times train.learning_rate: a narrow network takes larger steps."""
    reconstruction: float = Field(1.0, ge=0, le=1e6)
    """Weight of the squared distance of reconstructions, in units of the teacher's own error."""
    code: float = Field(1.0, ge=0, le=1e6)
    """Weight of the squared distance of codes, in units of their variance."""
    score: float = Field(1.0, ge=0, le=1e6)
    """Weight of the squared difference of the scores' logarithms."""
    mixtures: float = Field(0.5, ge=0, le=1)
    """Share of each batch that is replaced by mixtures of two records (Zhang et al., "mixup", ICLR 2018): training
    records are all normal, and the student is to be like its teacher on strange ones, too."""
    max_auroc_loss: float = Field(0.005, ge=0, le=1)
    """AUROC on test that may be lost."""
    min_rank_correlation: float = Field(0.0, ge=-1, le=1)
    """Spearman's, with the teacher's scores; another network ranks a little differently, and not worse."""


class Apprentice(Autoencoder):
    """A student in training.

    Args:
        student: what is trained.
        teacher: the original, with its scores; copied, and no part of the weights.
        mixed: share of each training batch that is mixed, see `Params.mixtures`.
    """

    def __init__(self, student: Autoencoder, teacher: Detector, mixed: float = 0.0) -> None:
        super().__init__(student.item, student.loss)
        self.student = student
        self.mixed = mixed
        # in a tuple torch does not find it: it is neither trained nor saved
        copied = copy.deepcopy(teacher).requires_grad_(False)
        # as the trainer lays out records for convolutions, which are three times as fast that way
        self.hidden = (copied.to(memory_format=torch.channels_last),)
        self.register_buffer("error", torch.ones(()))
        self.register_buffer("spread", torch.ones(()))

    def prepare_for(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        """Learn the units of the terms from one batch, and let the student prepare itself."""
        x = next(iter(batches()))
        x_hat, code, _ = self._teach(x)
        self.error.copy_((x_hat - x).square().mean().clamp(min=_TINY))
        self.spread.copy_((code - code.mean(0)).square().mean().clamp(min=_TINY))
        self.student.prepare_for(batches)

    def objective(self, x: Tensor, target: Tensor | None = None) -> dict[str, Tensor]:
        """How far the student is from its teacher: reconstructions, codes and scores (batch,) each."""
        del target
        (teacher,) = self.hidden
        x = self._mix(x) if self.training else x
        theirs_x, theirs_code, theirs = self._teach(x)
        x_hat, code = self.student(x)
        ours = teacher.score(x, x_hat, code)
        return {
            "reconstruction": (x_hat - theirs_x).square().flatten(1).mean(1) / self.error,
            "code": (code - theirs_code).square().mean(1) / self.spread,
            "score": (ours.clamp(min=_TINY).log() - theirs.clamp(min=_TINY).log()).square(),
        }

    def _mix(self, x: Tensor) -> Tensor:
        """The batch with some records replaced by mixtures of two, in random proportions; the teacher answers any."""
        count = round(self.mixed * len(x))
        if not count:
            return x
        first, second = (torch.randperm(len(x), device=x.device)[:count] for _ in range(2))
        part = torch.rand(count, *[1] * (x.ndim - 1), device=x.device)
        return torch.cat([x[count:], part * x[first] + (1 - part) * x[second]])

    @torch.no_grad()
    def _teach(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (teacher,) = self.hidden
        return teacher.to(x.device)(x)


def _compress(original: Original, params: Params) -> Compressed:
    blueprint = narrowed(blueprint_of(original.config), params.share)
    trained = TrainParams.model_validate(original.config["train"])
    student = build(blueprint, trained.init, original.seed)
    learning = {
        "epochs": params.epochs or trained.epochs,
        "learning_rate": trained.learning_rate * params.learning_rate_factor,
        "term_weights": {"reconstruction": params.reconstruction, "code": params.code, "score": params.score},
        "term_warm_up": 0,
    }
    apprentice = Apprentice(student, original.detector, params.mixtures)
    retrain(apprentice, original, "student", trained.model_copy(update=learning), params.model_dump())
    return rescored(student, original)


def narrowed(teacher: Blueprint, share: float) -> Blueprint:
    """The widest network of the teacher's kind with at most this share of its parameters.

    Raises:
        UserError: even the narrowest has more.
    """
    model, given = (teacher.base, teacher.base_params) if teacher.base else (teacher.model, teacher.params)
    full = find(model).params.model_validate(given)

    def at(step: int) -> Blueprint:
        params = full.narrowed(step / STEPS, teacher.item.size).model_dump()
        return replace(teacher, model=model, params=params, base=None, base_params=None)

    most = share * parameters(teacher)
    step = bisect_right(range(1, STEPS), most, key=lambda step: parameters(at(step)))
    if step == 0:
        raise UserError(
            "compress.methods.student.share",
            f"{share:g} is at most {most:,.0f} parameters, the narrowest '{model}' has {parameters(at(1)):,}",
            "raise it, or compress this variant otherwise",
        )
    return at(step)


def parameters(blueprint: Blueprint) -> int:
    """Numbers in the weights and buffers of a network."""
    return count(blueprint.build())


METHOD = MethodEntry(_compress, Params, "a narrower network that learned from the trained one", trains=True)

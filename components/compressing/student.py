"""Distillation: a small network learns what the trained one makes of records, and needs a part of its parameters.

Papers: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015; matching inner codes as in
Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015.
Departures: the student is no narrower copy, which at a tenth of the parameters is worse than PCA (docs/compression.md).
It works in a few principal components of the records and starts as the best linear approximation of its teacher there;
two small networks learn what is missing, and the components learn with them. It reconstructs a mixture of the record
and of what the teacher makes of it, so it may become better than its teacher.
Limits: the code has the teacher's size and meaning, so PCA at that size has to fit into the parameters allowed.
"""

import copy
import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterable

import torch
from pydantic import Field
from torch import Tensor, nn

from components.compressing import Compressed, MethodEntry, MethodParams, Original
from components.compressing.retraining import rescored, retrain
from components.data.item import Item
from components.layers.dense import dense
from components.layers.principal import principal
from components.models import Autoencoder
from components.params.train import Params as TrainParams
from components.runtime.errors import UserError
from components.scoring.detector import Detector
from components.training.weights import count

HIDDEN = 4
"""Hidden units for each component beyond the code's size: what no linear code reaches."""
_SAMPLE = 10_000
"""Training records that the linear start is fitted to, about."""
_TINY = 1e-12


class Params(MethodParams):
    """The student's size, and what it learns."""

    share: float = Field(0.1, gt=0, lt=1)
    """Of the teacher's parameters; the student has as many components as fit."""
    epochs: int | None = Field(None, ge=1, le=100_000)
    """Passes over the training records; null: as many as the teacher's."""
    learning_rate_factor: float = Field(3.0, gt=0, le=100)
    """Times train.learning_rate: a small network takes larger steps."""
    record: float = Field(0.5, ge=0, le=1)
    """Share of the record itself in what the student is to reconstruct; the rest is the teacher's reconstruction."""
    reconstruction: float = Field(1.0, ge=0, le=1e6)
    """Weight of the squared distance of reconstructions, in units of the teacher's own error."""
    code: float = Field(1.0, ge=0, le=1e6)
    """Weight of the squared distance of codes, in units of their variance."""
    score: float = Field(1.0, ge=0, le=1e6)
    """Weight of the squared difference of the scores' logarithms."""
    max_auroc_loss: float = Field(0.005, ge=0, le=1)
    """AUROC on test that may be lost."""
    min_rank_correlation: float = Field(0.0, ge=-1, le=1)
    """Spearman's, with the teacher's scores; another network ranks a little differently, and not worse."""


class Student(Autoencoder):
    """Linear maps and two small networks between principal components and a code.

    Shapes: x (batch, *item), code (batch, latent_dim).

    Args:
        item: what a scaled record looks like.
        latent_dim: code size.
        components: directions in which records are looked at; decoding goes back along the same ones.
    """

    def __init__(self, item: Item, latent_dim: int, components: int) -> None:
        super().__init__(item, "mse")
        hidden = HIDDEN * max(1, components - latent_dim)
        self.mean = nn.Parameter(torch.zeros(item.size))
        self.components = nn.Parameter(torch.zeros(components, item.size))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("code_spread", torch.ones(()))
        self.to_code = nn.Linear(components, latent_dim)
        self.from_code = nn.Linear(latent_dim, components)
        self.encoder = dense([components, hidden, latent_dim])
        self.decoder = dense([latent_dim, hidden, components])

    def encode(self, x: Tensor) -> Tensor:
        """The code (batch, latent_dim)."""
        seen = self.see(x)
        return self.to_code(seen) + self.code_spread * self.encoder(seen)

    def decode_logits(self, code: Tensor) -> Tensor:
        """The reconstruction (batch, *item)."""
        seen = self.from_code(code) + self.decoder(code / self.code_spread)
        return torch.unflatten(self.spread * seen @ self.components + self.mean, 1, self.item.shape)

    def see(self, x: Tensor) -> Tensor:
        """A record along the components (batch, component), about one in size."""
        return (x.flatten(1) - self.mean) @ self.components.T / self.spread

    @torch.no_grad()
    def start(self, batches: Callable[[], Iterable[Tensor]], codes: Callable[[Tensor], Tensor]) -> None:
        """Become the best linear approximation of a network with these codes; what is not linear begins at nothing.

        Raises:
            ValueError: no more records than components.
        """
        found = principal(batches, len(self.components))
        self.mean.copy_(found.mean)
        self.components.copy_(found.components)
        self.spread.copy_(found.deviations.square().mean().sqrt().clamp(min=_TINY))
        records = itertools.takewhile(_until(_SAMPLE), batches())
        pairs = [(self.see(x).double().cpu(), codes(x).double().cpu()) for x in records]
        seen, code = (torch.cat(values) for values in zip(*pairs, strict=True))
        self.code_spread.copy_((code - code.mean(0)).square().mean().sqrt().clamp(min=_TINY))
        for layer, known, wanted in ((self.to_code, seen, code), (self.from_code, code, seen)):
            fitted = torch.linalg.lstsq(torch.cat([known, torch.ones(len(known), 1)], 1), wanted).solution
            layer.weight.copy_(fitted[:-1].T)
            layer.bias.copy_(fitted[-1])
        for network in (self.encoder, self.decoder):
            nn.init.zeros_(network[-1].weight)
            nn.init.zeros_(network[-1].bias)


def _until(limit: int) -> Callable[[Tensor], bool]:
    """Whether fewer records than that came before a batch."""
    seen = itertools.count()
    return lambda batch: next(seen) * len(batch) < limit


class Apprentice(Autoencoder):
    """A student in training.

    Args:
        student: what is trained.
        teacher: the original, with its scores; copied, and no part of the weights.
        record: see `Params`.
    """

    def __init__(self, student: Student, teacher: Detector, record: float) -> None:
        super().__init__(student.item, student.loss)
        self.student, self.record = student, record
        # in a tuple torch does not find it: it is neither trained nor saved
        copied = copy.deepcopy(teacher).requires_grad_(False)
        # as the trainer lays out records for convolutions, which are three times as fast that way
        self.hidden = (copied.to(memory_format=torch.channels_last),)
        self.register_buffer("error", torch.ones(()))
        self.register_buffer("spread", torch.ones(()))

    def prepare_for(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        """Learn the units of the terms from one batch, and let the student start near its teacher.

        Raises:
            ValueError: no more records than the student has components.
        """
        x = next(iter(batches()))
        x_hat, code, _ = self._teach(x)
        self.error.copy_((x_hat - x).square().mean().clamp(min=_TINY))
        self.spread.copy_((code - code.mean(0)).square().mean().clamp(min=_TINY))
        self.student.start(batches, lambda x: self._teach(x)[1])

    def objective(self, x: Tensor, target: Tensor | None = None) -> dict[str, Tensor]:
        """How far the student is from what it should be: reconstructions, codes and scores (batch,) each."""
        del target
        (teacher,) = self.hidden
        theirs_x, theirs_code, theirs = self._teach(x)
        x_hat, code = self.student(x)
        ours = teacher.score(x, x_hat, code)
        wanted = torch.lerp(theirs_x.to(x.dtype), x, self.record)
        return {
            "reconstruction": (x_hat - wanted).square().flatten(1).mean(1) / self.error,
            "code": (code - theirs_code).square().mean(1) / self.spread,
            "score": (ours.clamp(min=_TINY).log() - theirs.clamp(min=_TINY).log()).square(),
        }

    @torch.no_grad()
    def _teach(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (teacher,) = self.hidden
        return teacher.to(x.device)(x)


def _compress(original: Original, params: Params) -> Compressed:
    teacher = original.detector.model
    torch.manual_seed(original.seed)
    student = fitting(teacher.item, original.config["params"]["latent_dim"], params.share, count(teacher))
    trained = TrainParams.model_validate(original.config["train"])
    learning = {
        "epochs": params.epochs or trained.epochs,
        "learning_rate": trained.learning_rate * params.learning_rate_factor,
        "term_weights": {"reconstruction": params.reconstruction, "code": params.code, "score": params.score},
        "term_warm_up": 0,
    }
    apprentice = Apprentice(student, original.detector, params.record)
    retrain(apprentice, original, "student", trained.model_copy(update=learning), params.model_dump())
    return rescored(student, original)


def fitting(item: Item, latent_dim: int, share: float, parameters: int) -> Student:
    """The student with the most components that has at most this share of its teacher's parameters.

    Raises:
        UserError: even the smallest has more.
    """
    sizes = range(min(latent_dim + 1, item.size), item.size + 1)

    def needed(components: int) -> int:
        with torch.device("meta"):
            return count(Student(item, latent_dim, components))

    most = share * parameters
    fit = bisect_right(sizes, most, key=needed)
    if fit == 0:
        raise UserError(
            "compress.methods.student.share",
            f"{share:g} is at most {most:,.0f} parameters, the smallest student has {needed(sizes[0]):,}",
            "raise it, or compress this variant otherwise",
        )
    return Student(item, latent_dim, sizes[fit - 1])


METHOD = MethodEntry(_compress, Params, "a small network that learned from the trained one", trains=True)

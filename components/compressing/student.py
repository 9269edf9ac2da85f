"""Distillation: a small network learns what the trained one makes of records, and needs a part of its parameters.

Papers: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015; matching inner codes as in
Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015.
Departures: the student is no narrower copy, which at a tenth of the parameters is worse than PCA (docs/compression.md).
It works in a few principal components of the records: it starts as PCA with codes as like the teacher's as linear ones
can be, two small networks learn what is missing, and the components learn with them. Of its teacher it keeps codes; it
reconstructs the record itself, unless `record` asks for what the teacher makes of it, and so may become the better one.
Limits: the code has the teacher's size and meaning, so PCA at that size has to fit into the parameters allowed.
"""

import copy
import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
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
_FLATTEST = 0.01
"""Smallest size of a direction of codes, of the largest one's: a teacher's unused code units would lose the record."""
_TINY = 1e-12


class Params(MethodParams):
    """The student's size, and what it learns; the defaults are the choice of tests/studies/student.py."""

    share: float = Field(0.1, gt=0, lt=1)
    """Of the teacher's parameters; the student has as many components as fit."""
    epochs: int | None = Field(None, ge=1, le=100_000)
    """Passes over the training records; null: as many as the teacher's."""
    learning_rate_factor: float = Field(3.0, gt=0, le=100)
    """Times train.learning_rate: a small network takes larger steps."""
    record: float = Field(1.0, ge=0, le=1)
    """Share of the record itself in what the student is to reconstruct; the rest is the teacher's reconstruction."""
    reconstruction: float = Field(1.0, ge=0, le=1e6)
    """Weight of the squared distance of reconstructions, in units of the teacher's own error."""
    code: float = Field(0.1, ge=0, le=1e6)
    """Weight of the squared distance of codes, in units of their variance."""
    score: float = Field(0.0, ge=0, le=1e6)
    """Weight of the squared difference of the scores' logarithms."""
    max_auroc_loss: float = Field(0.005, ge=0, le=1)
    """AUROC on test that may be lost."""
    min_rank_correlation: float = Field(0.0, ge=-1, le=1)
    """Spearman's, with the teacher's scores; another network ranks a little differently, and not worse."""


class Student(Autoencoder):
    """Principal components, what two small networks add to them, and a fixed map to codes like the teacher's.

    Shapes: x (batch, *item), code (batch, latent_dim).

    Args:
        item: what a scaled record looks like.
        latent_dim: code size.
        components: directions in which records are looked at; decoding goes back along the same ones.
    """

    def __init__(self, item: Item, latent_dim: int, components: int) -> None:
        super().__init__(item, "mse")
        self.linear = min(latent_dim, components)
        hidden = HIDDEN * max(1, components - latent_dim)
        self.mean = nn.Parameter(torch.zeros(item.size))
        self.components = nn.Parameter(torch.zeros(components, item.size))
        self.register_buffer("spread", torch.ones(()))
        self.encoder = dense([components, hidden, self.linear])
        self.decoder = dense([self.linear, hidden, components])
        self.register_buffer("turn", torch.zeros(self.linear, latent_dim))
        self.register_buffer("turn_back", torch.zeros(latent_dim, self.linear))
        self.register_buffer("offset", torch.zeros(latent_dim))

    def encode(self, x: Tensor) -> Tensor:
        """The code (batch, latent_dim)."""
        return self._turned(self._inner(x))

    def decode_logits(self, code: Tensor) -> Tensor:
        """The reconstruction (batch, *item)."""
        return self._outer((code - self.offset) @ self.turn_back)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(reconstruction, code); the same as one after the other, but for rounding on the way there and back."""
        inner = self._inner(x)
        return self._outer(inner), self._turned(inner)

    def _inner(self, x: Tensor) -> Tensor:
        seen = self.see(x)
        return seen[:, : self.linear] + self.encoder(seen)

    def _turned(self, inner: Tensor) -> Tensor:
        return inner @ self.turn + self.offset

    def _outer(self, inner: Tensor) -> Tensor:
        seen = F.pad(inner, (0, len(self.components) - self.linear)) + self.decoder(inner)
        return torch.unflatten(self.spread * seen @ self.components + self.mean, 1, self.item.shape)

    def see(self, x: Tensor) -> Tensor:
        """A record along the components (batch, component), about one in size."""
        return (x.flatten(1) - self.mean) @ self.components.T / self.spread

    @torch.no_grad()
    def start(self, batches: Callable[[], Iterable[Tensor]], codes: Callable[[Tensor], Tensor]) -> None:
        """Become PCA, with codes that are the best linear approximation of a teacher's.

        Args:
            batches: each call is one pass over the training records, in batches (batch, *item).
            codes: the teacher's (batch, latent_dim) of records.

        Raises:
            ValueError: no more records than components.
        """
        found = principal(batches, len(self.components))
        self.mean.copy_(found.mean)
        self.components.copy_(found.components)
        self.spread.copy_(found.deviations.square().mean().sqrt().clamp(min=_TINY))
        pairs = [(self.see(x)[:, : self.linear], codes(x)) for x in itertools.takewhile(_until(_SAMPLE), batches())]
        inner, code = (torch.cat(values).double().cpu() for values in zip(*pairs, strict=True))
        known = torch.cat([inner, torch.ones(len(inner), 1)], 1)
        *rows, offset = torch.linalg.lstsq(known, code).solution
        left, sizes, right = torch.linalg.svd(torch.stack(rows), full_matrices=False)
        sizes = sizes.clamp(min=_FLATTEST * sizes[0])
        self.turn.copy_(left * sizes @ right)
        self.turn_back.copy_(right.T / sizes @ left.T)
        self.offset.copy_(offset)
        for network in (self.encoder, self.decoder):  # what they add begins at nothing
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

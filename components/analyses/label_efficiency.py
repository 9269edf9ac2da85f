"""Label efficiency: what the encoder is worth to a classifier that has few labels.

Three ways to the same classifier, a linear layer on the code: the encoder frozen, the encoder trained further with it,
and a network of the same shape from its random start. All take the same steps on the same labelled records, in the same
batches; nothing is chosen, so validation has no part, and test says how good each is.
Limits: a fixed number of steps is no race to the end; more of them help the start from scratch most.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from components.analyses import AnalysisEntry, AnalysisParams, NotApplicableError
from components.analysing.outcome import Outcome, Picture, Table
from components.analysing.subject import Sample, Subject, in_batches
from components.comparing.wording import percent, promised
from components.models import Autoencoder
from components.reporting.analysis_plots import Axis, curves


class Params(AnalysisParams):
    """How many labels, and how a classifier is trained on them."""

    shares: list[Annotated[float, Field(gt=0, le=1)]] = Field([0.01, 0.1, 1.0], min_length=1)
    """Of train's labels; of each class at least one."""
    draws: int = Field(3, ge=1, le=100)
    """Drawings of labelled records behind each mean."""
    steps: int = Field(300, ge=1, le=100_000)
    """Of Adam, for each classifier."""
    batch_size: int = Field(64, ge=2)
    """Records of a step, drawn with replacement."""
    learning_rate: float = Field(1e-3, gt=0, le=1)
    """Of Adam; of the linear layer alone ten times as much, because it starts from nothing."""


class Encoder(nn.Module):
    """A network's code, brought to mean 0 and deviation 1 by what it is before its first step.

    Args:
        network: its encoder is used.
        records: scaled, unlabelled ones (record, *item), to measure codes on.
    """

    def __init__(self, network: Autoencoder, records: Tensor) -> None:
        super().__init__()
        self.network = network.eval()
        code = in_batches(network.encode, records)
        deviation = code.std(0)
        self.register_buffer("mean", code.mean(0))
        self.register_buffer("deviation", torch.where(deviation > 0, deviation, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (batch, *item) -> (batch, code)."""
        return (self.network.encode(x) - self.mean) / self.deviation


def run(params: Params, subject: Subject) -> Outcome:
    """Train all classifiers.

    Raises:
        NotApplicableError: the model is fitted in closed form, or train does not hold several labelled classes.
    """
    if subject.fresh is None:
        raise NotApplicableError("the model is fitted in closed form, so its encoder takes no steps")
    train, _, test = subject.labelled()
    arms: dict[str, Callable[[int], Autoencoder]] = {
        "fine-tuned": lambda _: copy.deepcopy(subject.model),
        "from scratch": subject.fresh,
    }
    frozen = Encoder(subject.model, train.x)
    codes = [in_batches(frozen, split.x) for split in (train, test)]
    rows: list[tuple[float, int, str, int, float]] = []
    for share in params.shares:
        for draw in range(params.draws):
            generator = np.random.default_rng([subject.seed, draw])
            chosen = torch.from_numpy(labelled_rows(train.labels, share, generator))
            seed = subject.seed + draw
            ways = {"frozen": (nn.Identity(), *codes)}
            ways |= {arm: (Encoder(network(seed), train.x), train.x, test.x) for arm, network in arms.items()}
            for arm, way in ways.items():
                accuracy = _accuracy(*way, chosen, train, test, params, seed)
                rows.append((share, len(chosen), arm, draw, accuracy))
    return _told(rows, len(test))


def labelled_rows(labels: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """Rows (row,) of the same share of each class, at least one of each, in ascending order."""
    rows = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return np.sort(np.concatenate([generator.permutation(of)[: max(1, round(share * len(of)))] for of in rows]))


def _accuracy(
    encoder: nn.Module, x: Tensor, unseen: Tensor, chosen: Tensor, train: Sample, test: Sample,
    params: Params, seed: int,
) -> float:  # fmt: skip
    """Share of test records that the encoder with a linear layer classifies right after training on the chosen rows."""
    known, targets = np.unique(train.labels, return_inverse=True)
    torch.manual_seed(seed)
    head = nn.Linear(train.code.shape[1], len(known))
    groups = [{"params": head.parameters(), "lr": 10 * params.learning_rate}]
    if trained := list(encoder.parameters()):
        groups.append({"params": trained, "lr": params.learning_rate})
    optimizer = torch.optim.Adam(groups, fused=True)
    classifier, targets = nn.Sequential(encoder, head).train(), torch.from_numpy(targets)
    for _ in range(params.steps):
        batch = chosen[torch.randint(len(chosen), (params.batch_size,))]
        optimizer.zero_grad()
        F.cross_entropy(classifier(x[batch]), targets[batch]).backward()
        optimizer.step()
    found = in_batches(classifier.eval(), unseen).argmax(1).numpy()
    return float((known[found] == test.labels).mean())


def _told(rows: Sequence[tuple[float, int, str, int, float]], records: int) -> Outcome:
    arms, labels = list(dict.fromkeys(row[2] for row in rows)), {row[0]: row[1] for row in rows}
    shares = list(labels)
    mean = {
        (share, arm): float(np.mean([row[-1] for row in rows if (row[0], row[2]) == (share, arm)]))
        for share in shares
        for arm in arms
    }
    told = "; ".join(
        f"{promised(share)} of the labels ({labels[share]}): "
        + ", ".join(f"{percent(mean[share, arm])} {arm}" for arm in arms)
        for share in shares
    )
    figure = curves(
        "Accuracy on test by labels",
        Axis("labelled records", logarithmic=True),
        Axis("share of test records"),
        {arm: ([labels[share] for share in shares], [mean[share, arm] for share in shares]) for arm in arms},
    )
    return Outcome(
        answer=f"Classes read right of {records} test records: {told}.",
        numbers={f"{arm.replace(' ', '_')}_at_{share:g}": value for (share, arm), value in mean.items()},
        tables={
            "label_efficiency": Table(
                "Accuracy of each classifier", ("share", "labels", "encoder", "draw", "test"), rows
            )
        },
        pictures={
            "label_efficiency": Picture(figure, "Means over the draws of labelled records.", f"Accuracy with {told}.")
        },
    )


ANALYSIS = AnalysisEntry(
    run, Params, "Label efficiency", "What is the encoder worth to a classifier that has few labels?"
)

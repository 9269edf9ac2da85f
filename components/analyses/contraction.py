"""Contraction: how far a code moves when its record does, by the size of the step.

Paper: Rifai et al., "Contractive Auto-Encoders: Explicit Invariance During Feature Extraction", ICML 2011.
The ratio of both moves is taken for steps in random directions, which no record takes, and for steps towards another
record, along which records do vary; a good code moves less with the first. Codes have no scale of their own, so ratios
are told relative to that of whole pairs of records: 1 is what the distance of two records gives.
"""

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from components.analyses import AnalysisEntry, AnalysisParams, NotApplicableError
from components.analysing.outcome import Outcome, Picture, Table
from components.analysing.subject import Subject, in_batches
from components.comparing.wording import number
from components.models import Autoencoder
from components.reporting.analysis_plots import Axis, curves

_TINY = 1e-12


class Params(AnalysisParams):
    """Sizes of steps."""

    sizes: list[Annotated[float, Field(gt=0, le=100)]] = Field([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0], min_length=1)
    """Root mean square over a record's values, in scaled units."""
    records: int = Field(2000, ge=2, le=100_000)
    """Normal test records, evenly spaced."""


def run(params: Params, subject: Subject) -> Outcome:
    """Step away from the normal test records.

    Raises:
        NotApplicableError: there are fewer than two, or all are alike.
    """
    x = subject.usual.spaced(params.records).x
    # each record and the one half-way round, so that neighbours in the file are no pairs
    others = x.roll(len(x) // 2, 0)
    apart = length(others - x) > _TINY
    x, others = x[apart], others[apart]
    if len(x) < 2:
        raise NotApplicableError("there are no two normal test records that differ")
    torch.manual_seed(subject.seed)
    directions = {"noise": unit(torch.randn_like(x)), "towards records": unit(others - x)}
    rows: list[tuple[Any, ...]] = []
    series = {}
    for model, network in (("code", subject.model), ("PCA", subject.pca)):
        whole = float(stretch(network, x, others - x).median())
        for direction, step in directions.items():
            ratios = [float(stretch(network, x, size * x[0].numel() ** 0.5 * step).mean()) for size in params.sizes]
            relative = [value / max(whole, _TINY) for value in ratios]
            series[f"{model}, {direction}"] = (params.sizes, relative)
            rows += [(model, direction, *row) for row in zip(params.sizes, ratios, relative, strict=True)]
    smallest = min(range(len(params.sizes)), key=params.sizes.__getitem__)
    told = ", ".join(f"{number(values[smallest])} ({label})" for label, (_, values) in series.items())
    figure = curves(
        "Move of the code by move of the record",
        Axis("size of the step, scaled units", logarithmic=len(params.sizes) > 1),
        Axis("relative to pairs of records"),
        series,
    )
    return Outcome(
        answer=f"A step of {params.sizes[smallest]:g} moves codes, as a share of what two records that far apart "
        f"would differ by: {told}.",
        numbers={
            f"{label.replace(', ', '_').replace(' ', '_')}_at_{size:g}".lower(): value
            for label, (sizes, values) in series.items()
            for size, value in zip(sizes, values, strict=True)
        },
        tables={"contraction": Table("Moves of codes", ("model", "direction", "size", "ratio", "relative"), rows)},
        pictures={
            "contraction": Picture(
                figure,
                "Below 1 a step moves the code less than the distance of two records does.",
                f"Smallest step: {told}.",
            )
        },
    )


def length(steps: Tensor) -> Tensor:
    """Euclidean length of each (record, ...): (record,)."""
    return steps.flatten(1).norm(dim=1)


def unit(steps: Tensor) -> Tensor:
    """The same directions (record, *item) with length 1."""
    return steps / length(steps).clamp(min=_TINY).view(-1, *[1] * (steps.ndim - 1))


def stretch(network: Autoencoder, x: Tensor, steps: Tensor) -> Tensor:
    """|code(x + step) - code(x)| / |step| of each record (record,). Shapes: (record, *item) twice."""
    moved, before = (in_batches(network.encode, records) for records in (x + steps, x))
    return length(moved - before) / length(steps).clamp(min=_TINY)


ANALYSIS = AnalysisEntry(run, Params, "Contraction", "How far does the code move when the record does?")

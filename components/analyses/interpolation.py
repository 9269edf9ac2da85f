"""Interpolation: what lies between the codes of two records of different classes, decoded step by step.

Half-way between two records their mean looks like neither. Where codes are a good description, what is decoded half-way
still looks like a record: its distance to the nearest training record tells, beside that of the mean of both records.
"""

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from components.analyses import AnalysisEntry, AnalysisParams, NotApplicableError
from components.analysing.outcome import Outcome, Picture, Table
from components.analysing.subject import Sample, Subject, in_batches
from components.comparing.wording import number
from components.reporting.analysis_plots import Axis, curves, heat_map, rows_of_images

_SHOWN = 6


class Params(AnalysisParams):
    """Pairs and steps."""

    pairs: int = Field(60, ge=1, le=1000)
    """Pairs of normal test records behind the distances; the first few are shown."""
    steps: int = Field(9, ge=3, le=33)
    """Points on each way, both ends included."""


def run(params: Params, subject: Subject) -> Outcome:
    """Walk between records.

    Raises:
        NotApplicableError: train does not hold several labelled classes, or test a single one of them.
    """
    train, _, test = subject.labelled()
    first, second = _pairs(test, params.pairs, subject.seed)
    at = torch.linspace(0, 1, params.steps)
    ways = between(test.code[first], test.code[second], at)
    decoded = in_batches(subject.model.decode, ways.flatten(0, 1)).unflatten(0, ways.shape[:2])
    blends = between(test.x[first], test.x[second], at)
    distances = {"code": decoded, "record": blends}
    known = train.x.flatten(1)
    distances = {name: nearest(values, known).mean(0).tolist() for name, values in distances.items()}
    middle = params.steps // 2
    told = " and ".join(
        f"{number(of[middle])} ({text})"
        for of, text in ((distances["code"], "decoded"), (distances["record"], "mean of both records"))
    )
    figure = curves(
        "Distance to the nearest training record",
        Axis("way from one record to the other"),
        Axis("root mean square, scaled units"),
        {
            label: (at.tolist(), distances[name])
            for name, label in (("code", "decoded"), ("record", "blend of records"))
        },
    )
    names = [f"{subject.classes[test.labels[a]]}\nto {subject.classes[test.labels[b]]}"
             for a, b in zip(first[:_SHOWN].tolist(), second[:_SHOWN].tolist(), strict=True)]  # fmt: skip
    return Outcome(
        answer=f"Half-way between {len(first)} pairs of classes, the nearest training record is {told} away.",
        numbers={
            "midpoint_distance": distances["code"][middle],
            "end_distance": (distances["code"][0] + distances["code"][-1]) / 2,
            "blend_midpoint_distance": distances["record"][middle],
        },
        tables={"interpolation": Table.of_columns("Mean distances on the way", {"way": at.tolist(), **distances})},
        pictures={
            "interpolation_ways": _ways(subject, decoded[:_SHOWN], names),
            "interpolation_distances": Picture(
                figure, "The lower, the more what is decoded looks like a record.", f"Half-way: {told}."
            ),
        },
    )


def between(start: Tensor, end: Tensor, at: Tensor) -> Tensor:
    """Points on straight lines. Shapes: (pair, ...) twice and (step,) -> (pair, step, ...)."""
    share = at.view(1, -1, *[1] * (start.ndim - 1))
    return start[:, None] * (1 - share) + end[:, None] * share


def nearest(points: Tensor, known: Tensor) -> Tensor:
    """Root mean square difference to the closest known record. Shapes: (pair, step, *item), (record, value) -> (pair,
    step).
    """
    # not by matrix products, which lose what is close
    distances = [
        torch.cdist(way.flatten(1), known, compute_mode="donot_use_mm_for_euclid_dist").amin(1) for way in points
    ]
    return torch.stack(distances) / known.shape[1] ** 0.5


def _pairs(test: Sample, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows of records of different classes (pair,) twice; every record starts a way at most once."""
    generator = np.random.default_rng(seed)
    starts = generator.permutation(len(test))[:count]
    pairs = [(start, generator.choice(other)) for start in starts
             if len(other := np.flatnonzero(test.labels != test.labels[start]))]  # fmt: skip
    if not pairs:
        raise NotApplicableError("test holds one of train's classes alone")
    first, second = torch.from_numpy(np.array(pairs)).T
    return first, second


def _ways(subject: Subject, decoded: Tensor, names: list[str]) -> Picture:
    told = [name.replace("\n", " ") for name in names]
    alternative = f"{decoded.shape[1]} steps each, decoded: {', '.join(told)}."
    if subject.model.item.is_image:
        figure = rows_of_images("Decoded between two codes", names, decoded.numpy())
        return Picture(figure, "From a record of one class to one of another.", alternative)
    steps = [f"{share:.0%}" for share in np.linspace(0, 1, decoded.shape[1])]
    figure = heat_map(
        f"Decoded on the way, {told[0]}", "column", steps, decoded[0].flatten(1).numpy().astype(np.float64)
    )
    return Picture(figure, "From a record of one class to one of another.", alternative)


ANALYSIS = AnalysisEntry(
    run, Params, "Between codes", "Does what lies between the codes of two records look like a record?"
)

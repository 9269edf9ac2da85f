"""Pictures that analyses draw, in the style of all others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components.reporting import INK
from components.reporting.plots import (
    ANOMALOUS,
    FOURTH,
    NORMAL,
    THIRD,
    WIDTH,
    codes,
    grey_or_colour,
    log_scale,
    signed,
    styled,
)
from components.scoring.metrics import Estimate

_LOOKS = (
    (NORMAL, "o", "-"),
    (ANOMALOUS, "^", "--"),
    (THIRD, "s", "-."),
    (FOURTH, "D", ":"),
    (INK, "v", "--"),
    (NORMAL, "x", ":"),
)
"""Colour, mark and line of each series: none is told apart by its colour alone."""
_MOST_TICKS = 40
_LONGEST = 13  # characters of a line beside images


@dataclass(frozen=True)
class Axis:
    """What an axis shows."""

    name: str
    logarithmic: bool = False
    counts: bool = False
    """Whether only whole numbers have a meaning; of an axis across."""


@styled
def curves(title: str, across: Axis, up: Axis, series: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Lines with marks: label of each, then its places across (point,) and up (point,)."""
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    for number, (label, (at, values)) in enumerate(series.items()):
        colour, mark, line = _LOOKS[number % len(_LOOKS)]
        axes.plot(at, values, color=colour, marker=mark, linestyle=line, markersize=5, linewidth=1.4, label=label)
    _named(axes, title, across, up)
    axes.grid(axis="y")
    axes.legend(loc="best")
    return figure


@styled
def intervals(title: str, across: str, rows: Mapping[str, Estimate]) -> Figure:
    """One line for each named estimate, with its interval."""
    figure = Figure(figsize=(WIDTH, 1.1 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(rows))
    value, low, high = np.array(list(rows.values())).T
    axes.hlines(places, low, high, color=NORMAL, linewidth=1.6)
    axes.plot(value, places, "o", color=NORMAL, markersize=6)
    axes.set_yticks(places, rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x")
    axes.set_xlabel(across)
    axes.set_title(title)
    return figure


@styled
def heat_map(title: str, across: str, rows: Sequence[str], values: np.ndarray) -> Figure:
    """Orange above zero, blue below, the stronger the farther. Shape: (row, column); not every row needs a name."""
    figure = Figure(figsize=(WIDTH, 1.2 + 0.2 * min(len(values), _MOST_TICKS)), layout="constrained")
    axes = figure.subplots()
    strongest = float(np.quantile(np.abs(values), 0.98)) or 1.0  # one freak value must not fade all others
    axes.imshow(signed(values, strongest), interpolation="none", aspect="auto")
    axes.set_yticks(np.arange(len(rows)), [_short(name) for name in rows])
    axes.set_xlabel(f"{across} (orange: above its mean, blue: below)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(title)
    return figure


@styled
def view(title: str, points: np.ndarray, classes: Sequence[str], anomalous: np.ndarray) -> Figure:
    """Records in a plane whose axes mean nothing. Shapes: (record, 2), (record,) twice."""
    figure = codes(points, ("", ""), classes, anomalous, [name or "no label" for name in classes])
    (axes,) = figure.axes
    axes.set_title(title)
    axes.set(xticks=[], yticks=[])
    return figure


@styled
def rows_of_images(title: str, names: Sequence[str], images: np.ndarray) -> Figure:
    """Images side by side, a named line of them for each row. Shape: (row, column, channel, height, width) in 0..1."""
    height, width = images.shape[3:]
    left, gap, head = 0.9, 0.04, 0.34  # inches
    tile = (WIDTH - left) / images.shape[1] - gap
    tall = tile * min(height / width, 3)
    figure = Figure(figsize=(WIDTH, head + len(images) * (tall + gap)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.text(0.04, 0.06, title, va="top", fontsize=11, fontweight="bold")
    for row, name in enumerate(names):
        top = head + row * (tall + gap)
        axes.text(left - 0.1, top + tall / 2, _short(name), ha="right", va="center", fontsize=8)
        for column, picture in enumerate(images[row]):
            at = left + column * (tile + gap)
            box = (at, at + tile, top + tall, top)
            axes.imshow(grey_or_colour(picture), extent=box, interpolation="none", aspect="auto")
    axes.set(xlim=(0, WIDTH), ylim=(head + len(images) * (tall + gap), 0))
    return figure


def _short(name: str) -> str:
    return "\n".join(line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…" for line in name.splitlines())


def _named(axes: Axes, title: str, across: Axis, up: Axis) -> None:
    for which, axis in (("x", across), ("y", up)):
        if axis.logarithmic:
            log_scale(axes, which)
        elif axis.counts:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(across.name)
    axes.set_ylabel(up.name)
    axes.set_title(title)

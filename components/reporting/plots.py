"""Pictures of a model, as SVG that reads well on white and on dark, in a report, in MLflow and in `dvc plots`.

Text, axes and grid have one colour, `INK`: a grey with a contrast of 4 on both backgrounds, which a page
replaces by its own. The other colours tell apart under the common colour-vision deficiencies, and none carries a
meaning alone. Equal data give equal bytes: no date, fixed ids, and no setting of a user's matplotlibrc.
"""

import functools
import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, ParamSpec

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from components.reporting import INK

NORMAL = "#3987d8"
ANOMALOUS = "#e0701a"
THIRD = "#159f77"
FOURTH = "#a86cc9"

WIDTH = 5.6  # inches; narrow, so that text stays legible when a phone shrinks the picture
_PER_ROW = 5
_MOST_POINTS = 1500  # of a scatter; an SVG holds each one as an element
MOST_COLUMNS = 24  # of an array, in pictures with a mark per column

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hourglass",
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so that the layout is the same everywhere
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a column or a class may have dollars in its name
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "grid.color": INK,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}

_Args = ParamSpec("_Args")


def styled(draw: Callable[_Args, Figure]) -> Callable[_Args, Figure]:
    """Draw in this project's style, whatever the user's is."""

    @functools.wraps(draw)
    def drawn(*args: _Args.args, **kwargs: _Args.kwargs) -> Figure:
        with style.context(["default", _STYLE]):
            return draw(*args, **kwargs)

    return drawn


_TITLE = "title:"
_TITLED = re.compile(rf'<a xlink:href="{_TITLE}([^"]*)"[^>]*>(.*?)</a>', re.DOTALL)


def save(figure: Figure, path: Path) -> None:
    """Write an SVG without dates, versions or ids that nothing refers to (several may share one page).

    Marks whose URL begins with `title:` show the rest of it when a pointer rests on them.
    """
    buffer = io.StringIO()
    with style.context(["default", _STYLE]):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = _TITLED.sub(r"<g><title>\1</title>\2</g>", buffer.getvalue())
    used = set(re.findall(r"#([\w-]+)", svg))
    path.write_text(re.sub(r' id="([\w-]+)"', lambda found: found[0] if found[1] in used else "", svg))


@styled
def losses(history: Mapping[str, Sequence[float]], best_epoch: int) -> Figure:
    """Losses over epochs, every term of the objective where there are several, and the gradient's norm.

    Args:
        history: the columns of history.csv.
        best_epoch: row of the epoch whose weights were kept.
    """
    figure = Figure(figsize=(WIDTH, 4.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    epochs = np.asarray(history["epoch"]) + 1  # people count from one
    train, validation = np.asarray(history["train_loss"]), np.asarray(history["validation_loss"])
    above.plot(epochs, train, color=NORMAL, label="training")
    above.plot(epochs, validation, color=ANOMALOUS, dashes=(4, 1.5), label="validation")
    terms = [name for name in history if name.startswith("validation_") and name != "validation_loss"]
    for term, colour in zip(terms if len(terms) > 1 else [], (FOURTH, THIRD, INK) * len(terms), strict=False):
        label = term.removeprefix("validation_").replace("_", " ")
        above.plot(epochs, history[term], color=colour, linewidth=1.1, dashes=(1, 1), label=f"{label} (validation)")
    best = f"best: epoch {epochs[best_epoch]:.0f}"
    above.plot(epochs[best_epoch], validation[best_epoch], "o", color=ANOMALOUS, markersize=6, label=best)
    if min(train.min(), validation.min()) > 0:
        log_scale(above, "y")
    above.set_title("Loss")
    above.legend(loc="upper right")
    below.plot(epochs, history["gradient_norm"], color=THIRD, linewidth=1.1)
    below.set_title("Gradient norm before clipping", fontsize=9, pad=4)
    below.set_xlabel("epoch")
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    if min(history["gradient_norm"]) > 0:
        log_scale(below, "y")
    for axes in (above, below):
        axes.grid(axis="y")
        axes.margins(x=0.02)
    return figure


@styled
def errors(kinds: Mapping[str, np.ndarray], threshold: float, meaning: str) -> Figure:
    """Histogram of scores with the threshold, each kind as shares of its own number.

    Args:
        kinds: label, then scores (record,); the first kind is the normal one.
        threshold: scores above it are alarms.
        meaning: what a score is.
    """
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    finite = {label: scores[np.isfinite(scores)] for label, scores in kinds.items()}
    positive = np.concatenate([[threshold], *finite.values()])
    positive = positive[positive > 0]
    smallest = positive.min(initial=1.0)  # a perfect score has no place on a logarithmic axis but its left end
    bins = np.geomspace(smallest * 0.97, positive.max(initial=smallest) * 1.03, 41)
    for (label, scores), colour in zip(finite.items(), (NORMAL, ANOMALOUS), strict=False):
        share = np.full(len(scores), 100 / max(len(scores), 1))
        heights, _ = np.histogram(np.maximum(scores, smallest), bins, weights=share)
        axes.stairs(heights, bins, fill=True, color=colour, alpha=0.35)
        axes.stairs(heights, bins, color=colour, linewidth=1.3, label=label)
    log_scale(axes, "x")
    axes.set_ylim(0, axes.get_ylim()[1] * 1.3)  # room for the legend
    axes.axvline(threshold, ymax=0.8, color=INK, linewidth=1.4, dashes=(4, 2))
    text = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points", "fontsize": 9}
    axes.annotate(f"alarm above {threshold:.3g}", (threshold, 0.8), (4, -1), va="top", **text)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.grid(axis="y")
    axes.set_xlabel(f"score: {meaning}")
    axes.set_title("Scores of test records")
    axes.legend(loc="upper left")
    return figure


@styled
def codes(
    points: np.ndarray,
    axis_names: tuple[str, str],
    classes: Sequence[str],
    anomalous: np.ndarray,
    titles: Sequence[str],
) -> Figure:
    """Records in two dimensions, each with its title under the pointer, with the name of each class at its median.

    Shapes: points (record, 2), classes (record,) names, anomalous (record,) bool, titles (record,).
    """
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    axes = figure.subplots()
    shown = np.arange(0, len(points), -(-len(points) // _MOST_POINTS))
    for kind, colour, marker, name in ((False, NORMAL, "o", "normal"), (True, ANOMALOUS, "^", "anomalous")):
        rows = shown[anomalous[shown] == kind]
        if len(rows):
            marks = axes.scatter(
                *points[rows].T, s=16, color=colour, alpha=0.6, linewidths=0, marker=marker, label=name
            )
            marks.set_urls([_TITLE + titles[row] for row in rows])
    names = np.asarray(classes)
    for name in sorted(set(classes) - {""}):
        x, y = np.median(points[names == name], axis=0)
        axes.text(x, y, name, ha="center", va="center", fontsize=14 if len(name) < 3 else 11, fontweight="bold")
    axes.set_xlabel(axis_names[0])
    axes.set_ylabel(axis_names[1])
    axes.set_title("Codes of test records")
    axes.legend(loc="best", markerscale=1.6)
    return figure


@styled
def images(
    x: np.ndarray,
    x_hat: np.ndarray,
    title: str,
    captions: Sequence[str],
    anomalous: Sequence[bool],
    contributions: np.ndarray | None = None,
) -> Figure:
    """Records above their reconstructions above what each pixel adds to the score, or above the differences.

    Shapes: (record, channel, height, width); x and x_hat in 0..1, contributions not negative.
    """
    rows = -(-len(x) // _PER_ROW)
    height, width = x.shape[2:]
    tile = 0.81, 0.81 * min(height / width, 3)  # inches
    left, head, foot = 1.0, 0.42, 0.3
    block = 3 * tile[1] + 0.08 + foot
    figure = Figure(figsize=(WIDTH, head + rows * block))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(head + rows * block, 0))
    axes.set_axis_off()
    axes.text(0.04, 0.08, title, va="top", fontsize=11, fontweight="bold")
    if contributions is None:
        below, name_below = (x_hat - x).mean(1), "difference:\norange too high,\nblue too low"
        strongest = np.full(len(x), np.abs(below).max() or 1.0)
    else:
        below, name_below = contributions.sum(1), "adds to the\nscore where\norange"
        strongest = below.reshape(len(x), -1).max(1).clip(min=1e-30)
    for number in range(len(x)):
        row, column = divmod(number, _PER_ROW)
        at_x, at_y = left + column * (tile[0] + 0.1), head + row * block
        tints = (grey_or_colour(x[number]), grey_or_colour(x_hat[number]), signed(below[number], strongest[number]))
        colour = ANOMALOUS if anomalous[number] else NORMAL
        for line, picture in enumerate(tints):
            top = at_y + line * (tile[1] + 0.04)
            box = (at_x, at_x + tile[0], top + tile[1], top)
            axes.imshow(picture, extent=box, interpolation="none", aspect="auto")
            axes.plot(
                [box[0], box[1], box[1], box[0], box[0]], [box[2], box[2], box[3], box[3], box[2]],
                color=colour, linewidth=1.2 if line == 0 else 0.5, solid_joinstyle="miter",
            )  # fmt: skip
        axes.text(at_x + tile[0] / 2, at_y + block - foot + 0.05, captions[number], ha="center", va="top", fontsize=8)
        if column == 0:
            for line, name in enumerate(("record", "reconstruction", name_below)):
                middle = at_y + line * (tile[1] + 0.04) + tile[1] / 2
                axes.text(left - 0.08, middle, name, ha="right", va="center", fontsize=8)
    axes.set(xlim=(0, WIDTH), ylim=(head + rows * block, 0))
    return figure


@styled
def columns(normal: np.ndarray, anomalous: np.ndarray | None) -> Figure:
    """Root mean squared error of each column, largest first. Shapes: mean squared errors (column,) each."""
    of_normal, of_anomalous = np.sqrt(normal), None if anomalous is None else np.sqrt(anomalous)
    order = np.argsort(-of_normal, kind="stable")[:MOST_COLUMNS]
    figure = Figure(figsize=(WIDTH, 1.1 + 0.2 * len(order)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(order))
    if of_anomalous is not None:
        axes.hlines(places, of_normal[order], of_anomalous[order], color=INK, alpha=0.4, linewidth=1)
        axes.plot(of_anomalous[order], places, "^", color=ANOMALOUS, markersize=6, label="anomalous")
    axes.plot(of_normal[order], places, "o", color=NORMAL, markersize=6, label="normal")
    axes.set_yticks(places, [f"column {column}" for column in order])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.grid(axis="x")
    axes.set_xlabel("root mean squared error, scaled units")
    axes.set_title("Errors per column")
    axes.legend(loc="lower right")
    return figure


@styled
def strips(x: np.ndarray, x_hat: np.ndarray, title: str, captions: Sequence[str], anomalous: Sequence[bool]) -> Figure:
    """One line per record, coloured where its reconstruction differs. Shapes: (record, column) twice."""
    figure = Figure(figsize=(WIDTH, 1.2 + 0.26 * len(x)), layout="constrained")
    axes = figure.subplots()
    difference = x_hat - x
    # one freak value must not fade all others
    strongest = float(np.quantile(np.abs(difference), 0.98)) or 1.0
    axes.imshow(signed(difference, strongest), interpolation="none", aspect="auto")
    axes.set_yticks(np.arange(len(x)), captions, fontsize=8)
    for label, strange in zip(axes.get_yticklabels(), anomalous, strict=True):
        label.set_fontweight("bold" if strange else "normal")
    axes.set_xlabel("column (orange: reconstructed too high, blue: too low)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(title)
    return figure


@styled
def examples(names: Sequence[str], records: Sequence[np.ndarray], anomalous: Sequence[bool]) -> Figure:
    """A row of pictures for each class. Shapes: for each (record, channel, height, width) in 0..1, at least one."""
    height, width = records[0].shape[2:]
    left, gap, across = 1.0, 0.06, max(map(len, records))
    tile = (WIDTH - left) / max(across, _PER_ROW) - gap
    tall = tile * min(height / width, 3)  # inches
    figure = Figure(figsize=(WIDTH, len(names) * (tall + gap)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for row, (name, of, strange) in enumerate(zip(names, records, anomalous, strict=True)):
        top, colour = row * (tall + gap) + gap / 2, ANOMALOUS if strange else NORMAL
        axes.text(left - 0.1, top + tall / 2, name, ha="right", va="center", fontsize=9, parse_math=False)
        axes.plot([left - 0.04] * 2, [top, top + tall], color=colour, linewidth=2, solid_capstyle="butt")
        for column, picture in enumerate(of):
            at = left + column * (tile + gap)
            box = (at, at + tile, top + tall, top)
            axes.imshow(grey_or_colour(picture), extent=box, interpolation="none", aspect="auto")
    axes.set(xlim=(0, WIDTH), ylim=(len(names) * (tall + gap), 0))
    return figure


@styled
def values(names: Sequence[str], records: Sequence[np.ndarray], anomalous: Sequence[bool]) -> Figure:
    """Lines of colours for each class: orange above the middle, blue below. Shapes: for each (record, column)."""
    rows = np.concatenate(records)
    figure = Figure(figsize=(WIDTH, 0.7 + 0.17 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(signed(rows, float(np.quantile(np.abs(rows), 0.98)) or 1.0), interpolation="none", aspect="auto")
    ends = np.cumsum([len(of) for of in records])
    axes.set_yticks([end - (len(of) + 1) / 2 for end, of in zip(ends, records, strict=True)])
    for label, strange in zip(axes.set_yticklabels(names, parse_math=False), anomalous, strict=True):
        label.set_fontweight("bold" if strange else "normal")
    for end in ends[:-1]:
        axes.axhline(end - 0.5, color=INK, linewidth=1)
    axes.set_xlabel("column (orange: above the middle, blue: below)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def grey_or_colour(image: np.ndarray) -> np.ndarray:
    """(channel, height, width) in 0..1 -> (height, width, 3) uint8; channel counts other than 3 show their mean."""
    planes = image if len(image) == 3 else np.repeat(image.mean(0, keepdims=True), 3, axis=0)
    return np.round(np.clip(planes, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)


def signed(difference: np.ndarray, strongest: float) -> np.ndarray:
    """Any shape -> the same with RGBA: orange where the reconstruction is too high, blue where too low, clear at 0."""
    rgba = np.empty((*difference.shape, 4))
    rgba[..., :3] = np.where(difference[..., None] > 0, to_rgb(ANOMALOUS), to_rgb(NORMAL))
    rgba[..., 3] = np.clip(np.abs(difference) / strongest, 0, 1)
    return np.round(rgba * 255).astype(np.uint8)


def log_scale(axes: Axes, which: Literal["x", "y"]) -> None:
    """A logarithmic axis with plain numbers, at 1-2-5 steps where a label per power of ten would be too few."""
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 200 else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())

"""The pictures that only a comparison has: what error costs, and what compression does."""

import itertools
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from components.comparing.compression import Scorer
from components.comparing.pareto import Point
from components.comparing.wording import number
from components.params.export import FLOAT32
from components.reporting import INK
from components.reporting.plots import ANOMALOUS, NORMAL, WIDTH, log_scale, styled

_MOST_NAMES = 8
"""Names beyond this number would cover each other: then only the frontier's are written."""


@styled
def pareto(points: Sequence[Point]) -> Figure:
    """Error over code size and over parameters: every candidate, the frontier through the best, PCA as reference."""
    figure = Figure(figsize=(WIDTH, 6.6), layout="constrained")
    by_code, by_parameters = figure.subplots(2, 1)
    _panel(by_code, points, [p.latent_dim for p in points], [p.best_for_code for p in points])
    _reference(by_code, [(p.latent_dim, p.pca_mse) for p in points])
    by_code.set_title("Error and code size")
    by_code.set_xlabel("numbers per code")
    sizes = sorted({p.latent_dim for p in points})
    by_code.set_xscale("log")
    by_code.xaxis.set_major_locator(FixedLocator(sizes))
    by_code.xaxis.set_minor_locator(NullLocator())
    by_code.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(round(value))))
    _panel(by_parameters, points, [p.parameters for p in points], [p.best_for_parameters for p in points])
    _reference(by_parameters, [(p.pca_parameters, p.pca_mse) for p in points])
    log_scale(by_parameters, "x")
    by_parameters.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    by_parameters.set_title("Error and parameters")
    by_parameters.set_xlabel("parameters")
    for axes in (by_code, by_parameters):
        axes.set_ylabel("squared error on test")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
    by_code.legend(loc="lower left")
    return figure


def _panel(axes: Axes, points: Sequence[Point], costs: Sequence[float], best: Sequence[bool]) -> None:
    candidates = list(zip(costs, [point.mse for point in points], best, points, strict=True))
    frontier = sorted({(cost, error) for cost, error, is_best, _ in candidates if is_best})
    axes.plot(*zip(*frontier, strict=True), color=NORMAL, drawstyle="steps-post", linewidth=1.2)
    for kind, marker, colour, label in ((True, "o", NORMAL, "frontier"), (False, "D", INK, "beaten in both respects")):
        at = [(cost, error) for cost, error, is_best, _ in candidates if is_best == kind]
        if at:
            axes.plot(*zip(*at, strict=True), marker, color=colour, markersize=6 if kind else 4.5, label=label)
    _name(axes, [(cost, error, p.variant) for cost, error, is_best, p in candidates if is_best or _room(candidates)])
    axes.margins(x=0.16, y=0.12)


def _room(candidates: Sequence[object]) -> bool:
    return len(candidates) <= _MOST_NAMES


def _name(axes: Axes, marks: Sequence[tuple[float, float, str]]) -> None:
    """Names beside marks; marks that lie almost on each other share one text, in the order of their heights."""
    near = max(value for _, value, _ in marks) / 30
    groups: list[list[tuple[float, float, str]]] = []
    for mark in sorted(marks, key=lambda mark: (mark[0], -mark[1])):
        last = groups[-1][-1] if groups else None
        if last and last[0] == mark[0] and last[1] - mark[1] < near:
            groups[-1].append(mark)
        else:
            groups.append([mark])
    for group in groups:
        x, y, _ = group[0]
        names = ", ".join(name for *_, name in group)
        written = axes.annotate(names, (x, y), (6, 3), textcoords="offset points", fontsize=8)
        written.set_in_layout(False)  # long ones would leave no room for the axes


def _reference(axes: Axes, at: Sequence[tuple[float, float]]) -> None:
    line = zip(*sorted(set(at)), strict=True)
    axes.plot(*line, "^", color=ANOMALOUS, markersize=5, linestyle=(0, (4, 2)), linewidth=1.2, label="PCA")


@styled
def compression(scorers: Sequence[Scorer]) -> Figure:
    """Quality over the size of the file: every scorer that could be registered, and the frontier through the best."""
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    labelled = all(scorer.auroc is not None for scorer in scorers)
    quality = [scorer.auroc if labelled else scorer.mse for scorer in scorers]
    at = list(zip([scorer.bytes for scorer in scorers], quality, scorers, strict=True))
    frontier = sorted({(size, value) for size, value, scorer in at if scorer.best})
    axes.plot(*zip(*frontier, strict=True), color=NORMAL, drawstyle="steps-post", linewidth=1.2)
    markers = dict(zip(dict.fromkeys(scorer.method for scorer in scorers), itertools.cycle("osD^v"), strict=False))
    for size, value, scorer in at:
        colour = NORMAL if scorer.best else INK
        filled = {"markerfacecolor": colour if scorer.holds else "none", "color": colour}
        axes.plot(size, value, markers[scorer.method], markersize=6, **filled)
    named = [mark for mark in at if mark[2].method == FLOAT32 or (mark[2].best and len(frontier) <= _MOST_NAMES)]
    _name(axes, [(size, value, scorer.variant) for size, value, scorer in named])
    for method, marker in markers.items():
        axes.plot([], [], marker, color=INK, label=method.replace("_", " "))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))  # beside the axes: points may lie anywhere in them
    log_scale(axes, "x")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("bytes of scorer.onnx")
    axes.set_ylabel("AUROC on test" if labelled else "squared error on test")
    axes.set_title("Quality and size")
    axes.grid(axis="y")
    axes.margins(x=0.16, y=0.12)
    return figure

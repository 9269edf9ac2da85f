"""Pictures of the promise: p-values of normal test records, and their rate of alarms at every alpha.

Both bands hold the whole picture at once in 95 % of all draws of calibration and test records that are exchangeable.
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from components.comparing.wording import p_value, promised
from components.reporting import INK
from components.reporting.plots import ANOMALOUS, NORMAL, WIDTH, log_scale, save, styled
from components.scoring.validity import Histogram, Validity


def draw(validity: Validity, histogram: Histogram, alpha: float, folder: Path) -> None:
    """Write validity.svg and p_values.svg into `folder`; the declared `alpha` is marked."""
    save(rates(validity, alpha), folder / "validity.svg")
    save(p_values(histogram), folder / "p_values.svg")


@styled
def rates(validity: Validity, alpha: float) -> Figure:
    """Realised over promised false-alarm rate, on logarithmic axes; what lies below them stands on their edge."""
    figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
    axes = figure.subplots()
    floor = float(validity.nominal[0]) / 4
    low, high, realised = (np.maximum(of, floor) for of in (validity.low, validity.high, validity.realised))
    axes.fill_between(validity.nominal, low, high, color=NORMAL, alpha=0.25, linewidth=0, label="95 % band")
    axes.plot(validity.nominal, validity.nominal, color=INK, linewidth=1, dashes=(4, 2), label="as promised")
    axes.plot(validity.nominal, realised, color=NORMAL, label=f"realised (p = {p_value(validity.p_value)})")
    outside = ~validity.inside
    if outside.any():
        axes.plot(validity.nominal[outside], realised[outside], "D", color=ANOMALOUS, markersize=4, label="outside")
    axes.axvline(alpha, color=INK, linewidth=0.8, dashes=(1, 1.5))
    axes.annotate(f"alpha {promised(alpha)}", (alpha, floor), (4, 4), textcoords="offset points", fontsize=9)
    axes.margins(x=0.02)
    axes.set_ylim(floor, 1)
    for which, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        log_scale(axes, which)
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.set_xlabel("promised")
    _finish(axes, "False alarms among normal test records", "upper left")
    return figure


@styled
def p_values(histogram: Histogram) -> Figure:
    """How often p-values fall into each bin, as multiples of what is promised."""
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = figure.subplots()
    axes.stairs(histogram.density, histogram.edges, fill=True, color=NORMAL, alpha=0.35)
    axes.stairs(histogram.density, histogram.edges, color=NORMAL, linewidth=1.3, label="normal test records")
    for ends, label in ((histogram.low, None), (histogram.high, "95 % band")):
        axes.stairs(ends, histogram.edges, baseline=None, color=ANOMALOUS, linewidth=1.1, label=label)
    axes.axhline(1, color=INK, linewidth=1, dashes=(4, 2), label="as promised")
    axes.set_ylim(0, 1.35 * max(histogram.high.max(), histogram.density.max()))  # room for the legend
    axes.margins(x=0.01)
    axes.set_ylabel("multiple of what is promised")
    axes.set_xlabel("p-value: share of calibration records at least as strange")
    _finish(axes, "p-values of normal test records", "upper right", columns=3)
    return figure


def _finish(axes: Axes, title: str, place: str, columns: int = 1) -> None:
    axes.grid(axis="y")
    axes.set_title(title)
    axes.legend(loc=place, ncols=columns)

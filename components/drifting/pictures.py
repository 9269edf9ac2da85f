"""The pictures of the monitoring page: what the martingale made of the stream, the alarms, the scores."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from components.reporting import INK
from components.reporting.plots import ANOMALOUS, NORMAL, WIDTH, errors, styled


@styled
def wealth(looks: Sequence[Mapping[str, Any]], delta: float) -> Figure:
    """Evidence of a change over the records of the stream, on a scale of powers of ten, and where it means an alarm."""
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = figure.subplots()
    records = [look["records"] for look in looks]
    axes.plot(records, [look["peak"] for look in looks], color=ANOMALOUS, dashes=(4, 1.5), label="largest so far")
    axes.plot(records, [look["wealth"] for look in looks], "o-", color=NORMAL, markersize=3, label="at each look")
    _limit(axes, -np.log10(delta), f"alarm at {1 / delta:g}")
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda power, _: f"{10**power:g}" if abs(power) < 6 else f"1e{power:g}")
    )
    axes.set_title("Wealth of the martingale")
    _finish(axes)
    return figure


@styled
def alarm_rates(looks: Sequence[Mapping[str, Any]], alpha: float, limit: float) -> Figure:
    """The share of alarms in the window at each look, with its interval."""
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = figure.subplots()
    known = [look for look in looks if look["alarm_rate"] is not None]
    records = [look["records"] for look in known]
    rate, low, high = (np.array([100 * look["alarm_rate"][end] for look in known]) for end in range(3))
    axes.fill_between(records, low, high, color=NORMAL, alpha=0.25, linewidth=0)
    axes.plot(records, rate, "o-", color=NORMAL, markersize=3, label="latest records, with interval")
    axes.axhline(100 * alpha, color=INK, linewidth=1, label="promised")
    _limit(axes, 100 * limit, "alarm when the interval is above")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.set_title("Rate of alarms")
    _finish(axes)
    return figure


@styled
def scores(calibration: np.ndarray, window: np.ndarray, threshold: float) -> Figure:
    """Scores of calibration and of the latest records. Shapes: (n,), (record,)."""
    figure = errors({"calibration": calibration, "latest records": window}, threshold, "")
    figure.axes[0].set_title("Scores")
    figure.axes[0].set_xlabel("score")
    return figure


def _limit(axes: Axes, at: float, text: str) -> None:
    axes.axhline(at, color=INK, linewidth=1.4, dashes=(4, 2))
    axes.annotate(text, (0, at), (4, 3), xycoords=axes.get_yaxis_transform(), textcoords="offset points", fontsize=9)


def _finish(axes: Axes) -> None:
    axes.grid(axis="y")
    axes.set_xlabel("records of the stream")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.margins(x=0.02, y=0.15)
    axes.legend(loc="best")

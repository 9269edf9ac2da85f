"""Pictures that only a table has: which columns the scores of its records come from."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from components.reporting import INK
from components.reporting.plots import ANOMALOUS, MOST_COLUMNS, NORMAL, WIDTH, styled

_LONGEST_NAME = 24


@styled
def explained(calm: np.ndarray | None, alarmed: np.ndarray | None, names: Sequence[str]) -> Figure:
    """Mean contribution of each column without and with an alarm, first those that alarms add most to.

    Shapes: (column,) each, None where there is no such record, one of them at least is not.
    """
    kinds = {"records without an alarm": calm, "records with an alarm": alarmed}
    means = {name: mean for name, mean in kinds.items() if mean is not None}
    extra = np.diff(list(means.values()), axis=0)[0] if len(means) == 2 else next(iter(means.values()))
    order = np.argsort(-extra, kind="stable")[:MOST_COLUMNS]
    figure = Figure(figsize=(WIDTH, 1.1 + 0.2 * len(order)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(order))
    if len(means) == 2:
        axes.hlines(places, *(mean[order] for mean in means.values()), color=INK, alpha=0.4, linewidth=1)
    for name, mean in means.items():
        marker, colour = ("^", ANOMALOUS) if mean is alarmed else ("o", NORMAL)
        axes.plot(mean[order], places, marker, color=colour, markersize=6, label=name)
    axes.set_yticks(places, _shortened(names, order))
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.grid(axis="x")
    axes.set_xlabel("mean contribution to the score")
    _title(axes, "Columns that explain alarms", len(order), len(names))
    axes.legend(loc="lower right")
    return figure


@styled
def strangest(
    contributions: np.ndarray, names: Sequence[str], captions: Sequence[str], anomalous: Sequence[bool], title: str
) -> Figure:
    """One line per record: the share that each column has in its score. Shapes: contributions (record, column)."""
    shares = contributions / np.maximum(contributions.sum(1, keepdims=True), 1e-300)
    order = np.sort(np.argsort(-shares.mean(0), kind="stable")[:MOST_COLUMNS])
    figure = Figure(figsize=(WIDTH, 2.2 + 0.26 * len(shares)), layout="constrained")
    axes = figure.subplots()
    tint = np.empty((len(shares), len(order), 4))
    tint[..., :3], tint[..., 3] = to_rgb(ANOMALOUS), shares[:, order]
    axes.imshow(np.round(tint * 255).astype(np.uint8), interpolation="none", aspect="auto")
    axes.set_yticks(np.arange(len(shares)), captions, fontsize=8)
    for label, strange in zip(axes.get_yticklabels(), anomalous, strict=True):
        label.set_fontweight("bold" if strange else "normal")
    axes.set_xticks(np.arange(len(order)), _shortened(names, order), rotation=60, ha="right", fontsize=8)
    axes.set_xlabel("column (the darker, the more of the score)")
    _title(axes, title, len(order), len(names))
    return figure


def _shortened(names: Sequence[str], order: np.ndarray) -> list[str]:
    shown = [names[column] for column in order]
    return [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…" for name in shown]


def _title(axes: Axes, title: str, shown: int, columns: int) -> None:
    axes.set_title(title if shown == columns else f"{title}: {shown} of {columns} columns")

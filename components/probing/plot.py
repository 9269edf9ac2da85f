"""The picture of a learning-rate range test, in the style of the others."""

import numpy as np
from matplotlib.figure import Figure

from components.reporting import INK
from components.reporting.plots import ANOMALOUS, NORMAL, WIDTH, log_scale, styled


@styled
def loss_over_rate(rates: np.ndarray, losses: np.ndarray, smoothed: np.ndarray, suggestion: float | None) -> Figure:
    """Loss of each step over its learning rate, with the suggested rate. Shapes: (step,) each."""
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, color=INK, alpha=0.4, linewidth=0.8, label="batch")
    axes.plot(rates, smoothed, color=NORMAL, label="smoothed")
    low, high = smoothed.min(), smoothed[: max(1, int(np.argmin(smoothed)))].max()
    axes.set_ylim(low - 0.1 * (high - low) - 1e-12, high + 0.3 * (high - low) + 1e-12)
    if suggestion is not None:
        label = f"falls fastest at {suggestion:.2g}"
        axes.axvline(suggestion, color=ANOMALOUS, linewidth=1.4, dashes=(4, 2), label=label)
    log_scale(axes, "x")
    axes.grid(axis="y")
    axes.set_xlabel("learning rate")
    axes.set_title("Loss while the learning rate rises")
    axes.legend(loc="lower left")
    return figure

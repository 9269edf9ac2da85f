"""What train writes to diagnosis.json: signs in the history, where there is one, and on validation records."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from components.data.splits import load_records
from components.diagnosing import Finding, diagnose, learning, observed
from components.models import Autoencoder


def diagnose_training(
    network: Autoencoder,
    scale: nn.Module,
    history: Sequence[Mapping[str, float]],
    fit: Mapping[str, Any],
    config: Mapping[str, Any],
) -> list[Finding]:
    """Every finding about a trained network on the CPU.

    Args:
        history: rows of history.csv; fit: content of fit.json; config: content of config.json.
    """
    closed_form = config["train"] is None
    ratio = tuple(fit[f"validation_mse_ratio_to_pca_{end}"] for end in ("low", "high"))
    seen = observed.observe(network, scale, load_records("validation"), None if closed_form else ratio, config["seed"])
    found = diagnose(observed.CHECKS, seen)
    if closed_form:
        return found
    columns = {name: np.array([row[name] for row in history]) for name in history[0]}
    return [*diagnose(learning.CHECKS, learning.Learning(columns, fit, config["train"]["term_weights"])), *found]

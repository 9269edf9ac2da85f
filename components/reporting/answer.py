"""The sentence that a morning needs: which model, and how good against PCA at the same code size."""

from typing import Any

from components.comparing.candidates import Candidate
from components.comparing.wording import interval, number, percent, ratio


def answer(winner: Candidate, rule: str) -> tuple[str, str]:
    """A headline in the terms of the rule, and what the test records say about it."""
    headline, finding = _against_pca(winner)
    finding = f"On {number(winner.metrics['normal_records'])} normal test records, which chose nothing, {finding}"
    if rule == "auroc":
        headline = f"{winner.name}: AUROC {ratio(winner.metrics['auroc'])}"
        finding = f"PCA at the same code size reaches {ratio(winner.metrics['pca_auroc'])}. {finding}"
    return headline, finding


def _against_pca(winner: Candidate) -> tuple[str, str]:
    metrics: dict[str, Any] = winner.metrics
    value, low, high = (metrics[f"mse_ratio_to_pca{end}"] for end in ("", "_low", "_high"))
    if winner.is_pca:
        return "Nothing beats PCA", f"its squared error is {number(metrics['mse'])}."
    if value >= 1:
        found = f"its error is {ratio(value)} of PCA's (95 % interval {interval(metrics, 'mse_ratio_to_pca')})."
        return f"{winner.name}: {_change(value)} more squared error than PCA", found
    reduction = f"{_change(value)} less squared error than PCA"
    if high >= 1:
        found = f"from {_change(low)} less to {_change(high)} more"
        return f"{winner.name}: level with PCA", f"it has {reduction} at the same code size (95 % interval {found})."
    found = f"{_change(high)} to {_change(low)}"
    return f"{winner.name}: {reduction}", f"it has {reduction} at the same code size (95 % interval {found})."


def _change(value: float) -> str:
    share = abs(1 - value)
    return f"{100 * share:.0f} %" if share >= 0.01 else percent(share)

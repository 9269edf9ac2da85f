"""The declared rule and the table it orders; test numbers stand in the table and decide nothing."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.comparing.baselines import Baseline, in_words
from components.comparing.candidates import Candidate
from components.comparing.gates import Gate, promotion
from components.runtime.errors import UserError


@dataclass(frozen=True)
class Rule:
    """How `compare.winner` orders candidates."""

    metric: str
    """Measured on validation or selection, never on test."""
    largest_wins: bool
    text: str

    def key(self, candidate: Candidate) -> tuple[float, int, str]:
        """Sorts the best first; equal results go to the simpler model."""
        value = candidate.metrics[self.metric]
        # areas and ratios that are equal on paper may differ in their last bits
        return round(-value if self.largest_wins else value, 9), *simplicity(candidate)


def simplicity(candidate: Candidate) -> tuple[int, str]:
    """Sorts the simplest first, every candidate in a place of its own."""
    return candidate.metrics["parameters"], candidate.name


RULES = {
    "mse_ratio_to_pca": Rule(
        "validation_mse_ratio_to_pca", False, "smallest squared error against PCA at the same code size, on validation"
    ),
    "auroc": Rule("selection_auroc", True, "largest AUROC on the selection records"),
}


def _estimate(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


COLUMNS = (
    *_estimate("validation_mse_ratio_to_pca"),
    "mse",
    *_estimate("mse_ratio_to_pca"),
    "false_alarm_rate",
    "false_alarm_low",
    "false_alarm_high",
    *_estimate("selection_auroc"),
    *_estimate("auroc"),
    *_estimate("untrained_auroc"),
    *_estimate("average_precision"),
    *_estimate("detection_rate"),
)
"""Metrics of a row, where a candidate has them."""


def rank(candidates: Sequence[Candidate], rule_name: str) -> list[Candidate]:
    """Candidates, best first, by the declared rule.

    Raises:
        UserError: the rule needs labelled selection records and there are none.
    """
    rule = RULES[rule_name]
    if rule.metric == "selection_auroc" and any(rule.metric not in candidate.metrics for candidate in candidates):
        raise UserError(
            "compare.winner",
            "'auroc' needs normal and anomalous records in the split selection, and there are none",
            "name prepare.normal_classes and give fractions.selection a share, or set it to mse_ratio_to_pca",
        )
    return sorted(candidates, key=rule.key)


def leaderboard(
    ranked: Sequence[Candidate], rule_name: str, gates: dict[str, dict[str, Gate]], baselines: Sequence[Baseline]
) -> dict[str, Any]:
    """The content of leaderboard.json; rows are keyed by variant, so that `dvc metrics show` flattens them.

    Baselines have rows apart: they have no rank and cannot win.
    """
    winner = ranked[0].name
    eligible, reasons = promotion(gates[winner])
    return {
        "winner": winner,
        "rule": rule_name,
        "candidates": len(ranked),
        "export": f"artifacts/export/{winner}",
        "eligible": eligible,
        "reasons": reasons,
        "rows": {candidate.name: _row(candidate, place) for place, candidate in enumerate(ranked, start=1)},
        "baselines": {baseline.name: _baseline_row(baseline) for baseline in baselines},
        "findings": in_words(baselines, ranked[0]),
    }


def _row(candidate: Candidate, place: int) -> dict[str, Any]:
    metrics = candidate.metrics
    return {
        "rank": place,
        "model": candidate.config["model"],
        "latent_dim": metrics["latent_dim"],
        "parameters": metrics["parameters"],
        **{name: metrics[name] for name in COLUMNS if name in metrics},
    }


def _baseline_row(baseline: Baseline) -> dict[str, Any]:
    metrics = baseline.metrics
    row = {"model": metrics["method"], **{name: metrics[name] for name in COLUMNS if name in metrics}}
    return row if baseline.verdict is None else {**row, "against_winner": baseline.verdict}


def write_csv(path: Path, board: dict[str, Any]) -> None:
    """The rows of the leaderboard, best first, then those of baselines; what a row lacks is an empty cell."""
    ranked = sorted(board["rows"].items(), key=lambda row: row[1]["rank"])
    rows = [(name, {"kind": "variant", **row}) for name, row in ranked]
    rows += [(name, {"kind": "baseline", **row}) for name, row in board["baselines"].items()]
    known = ("kind", "rank", "model", "latent_dim", "parameters", *COLUMNS, "against_winner")
    columns = ["variant", *(name for name in known if any(name in row for _, row in rows))]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({"variant": name, **row} for name, row in rows)

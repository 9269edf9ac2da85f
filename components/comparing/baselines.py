"""Simple methods beside the winner: who tells anomalies apart better, on the same test records.

They are compared with the winner alone, after it was chosen, by the area under the ROC curve: paired DeLong, corrected
for their number. A baseline has no reconstruction error that compares with a model's, no exported file and no rank.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from components.comparing.candidates import Candidate, refuse_leftovers
from components.comparing.pairs import Pair, compare_areas
from components.comparing.records import load_scored
from components.comparing.wording import ratio
from components.runtime.outputs import read_json

Verdict = Literal["better than", "worse than", "not told apart from"]


@dataclass(frozen=True)
class Baseline:
    """One simple method: its numbers, as its stage left them."""

    name: str
    metrics: dict[str, Any]
    against: Pair | None
    """It and the winner, in this order; None where test does not hold enough records of both kinds."""

    @property
    def verdict(self) -> Verdict | None:
        """How it stands to the winner, to be followed by the winner's name."""
        if self.against is None:
            return None
        if self.against.better is None:
            return "not told apart from"
        return "better than" if self.against.better == self.name else "worse than"


def load_baselines(names: Sequence[str], winner: Candidate, artifacts: Path) -> list[Baseline]:
    """Every baseline, the largest area first.

    Raises:
        UserError: one's result is missing, damaged or of other records, or a folder is left over from another.
    """
    folder = artifacts / "baseline"
    refuse_leftovers(names, [folder])
    if not names:
        return []
    metrics = {name: read_json(folder / name / "metrics.json", f"baseline@{name}") for name in names}
    order = sorted(names, key=lambda name: (-metrics[name].get("auroc", 0.0), name))
    scored = load_scored([artifacts / "evaluate" / winner.name, *(folder / name for name in order)])
    pairs = {pair.first: pair for pair in compare_areas(order, winner.name, scored)}
    return [Baseline(name, metrics[name], pairs.get(name)) for name in order]


def in_words(baselines: Sequence[Baseline], winner: Candidate) -> list[str]:
    """What a reader must know of them before anything else: where a simple method does better, or as well."""
    if not baselines:
        return []
    if "auroc" not in winner.metrics:
        return ["Test holds no labelled anomalies, so that simple methods show their false alarms and nothing else"]
    told: tuple[Verdict, ...] = ("better than", "not told apart from")
    groups = {verdict: [baseline for baseline in baselines if baseline.verdict == verdict] for verdict in told}
    area = f"{winner.name} ({ratio(winner.metrics['auroc'])})"
    return [f"By AUROC {_named(group)} {verdict} {area}" for verdict, group in groups.items() if group]


def _named(baselines: Sequence[Baseline]) -> str:
    names = " and ".join(f"{baseline.name} ({ratio(baseline.metrics['auroc'])})" for baseline in baselines)
    return f"the simple method {names} is" if len(baselines) == 1 else f"the simple methods {names} are"

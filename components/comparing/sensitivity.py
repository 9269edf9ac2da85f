"""Who would win by another rule, and how often by the same rule had other records been drawn.

The declared rule decides; this tells how much hangs on it. Records of validation or selection are drawn anew, the same
for all candidates, and the rule is applied to each draw. An area under the ROC curve follows its draw to first order,
by resampled placements (`components.comparing.areas`). Test is not looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.comparing.candidates import Candidate
from components.comparing.leaderboard import RULES, Rule, simplicity
from components.comparing.records import Records
from components.scoring.areas import Scored, place
from components.scoring.metrics import interval, resampled_sums

RESAMPLES = 1000
WHAT_IF = {**RULES, "mse": Rule("validation_mse", False, "smallest squared error on validation")}
"""The rules that may be declared, and one that may not: it favours whoever has the largest code."""


@dataclass(frozen=True)
class Standing:
    """One candidate under one rule."""

    rule: str
    variant: str
    value: float
    low: float
    high: float
    wins: float
    """Share of the draws in which it comes out first."""


@dataclass(frozen=True)
class Outcome:
    """One rule, and the candidates in the order it gives them."""

    rule: str
    text: str
    declared: bool
    standings: list[Standing]

    @property
    def winner(self) -> Standing:
        """Who is first."""
        return self.standings[0]

    @property
    def runner_up(self) -> Standing | None:
        """Who is second."""
        return self.standings[1] if len(self.standings) > 1 else None

    @property
    def overlap(self) -> bool:
        """Whether the intervals of the first two overlap."""
        second = self.runner_up
        return second is not None and self.winner.low <= second.high and second.low <= self.winner.high


def outcomes(candidates: Sequence[Candidate], records: Records, declared: str, seed: int) -> list[Outcome]:
    """What each rule that the data allows would choose, the declared one first.

    Args:
        candidates: in the order of the records.
        records: what they said.
        declared: name of the rule that counts.
        seed: draws resamples.
    """
    drawn = {name: draws for name, draws in _draws(records, seed).items() if draws is not None}
    names = sorted(drawn, key=lambda name: name != declared)
    return [_outcome(name, candidates, drawn[name], declared) for name in names]


def _draws(records: Records, seed: int) -> dict[str, np.ndarray | None]:
    """By rule, its measure in every draw (draw, candidate)."""
    count = records.validation.shape[2]
    errors = records.validation.reshape(-1, count).T  # (record, candidate and its PCA by turns)
    means = resampled_sums(errors, RESAMPLES, seed) / count
    ours, theirs = means[:, ::2], means[:, 1::2]
    return {
        "mse_ratio_to_pca": ours / theirs,
        "auroc": _drawn_areas(records.selection, seed) if records.selection.rankable else None,
        "mse": ours,
    }


def _drawn_areas(scored: Scored, seed: int) -> np.ndarray:
    """Areas (draw, candidate); both kinds keep their number of records."""
    placements = place(scored)
    keys = np.random.SeedSequence(seed).spawn(2)
    kinds = zip((placements.normal, placements.anomalous), keys, strict=True)
    means = [resampled_sums(of, RESAMPLES, key) / len(of) for of, key in kinds]
    return np.clip(sum(means) - placements.areas, 0, 1)


def _outcome(name: str, candidates: Sequence[Candidate], drawn: np.ndarray, declared: str) -> Outcome:
    rule = WHAT_IF[name]
    order = sorted(range(len(candidates)), key=lambda index: rule.key(candidates[index]))
    # argmax takes the first of equals, which is to be the simplest, as in the rule itself
    simple = sorted(range(len(candidates)), key=lambda index: simplicity(candidates[index]))
    signed = np.round(drawn[:, simple] if rule.largest_wins else -drawn[:, simple], 9)
    wins = np.bincount(np.argmax(signed, axis=1), minlength=len(candidates)) / len(drawn)
    share = dict(zip(simple, wins, strict=True))
    values = {index: float(candidates[index].metrics[rule.metric]) for index in order}
    standings = [
        Standing(name, candidates[index].name, value, *interval(drawn[:, index]), float(share[index]))
        for index, value in values.items()
    ]
    return Outcome(name, rule.text, name == declared, standings)

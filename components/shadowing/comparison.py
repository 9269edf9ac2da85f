"""Two versions on the same records: how often each alarms, where they decide differently, whether they rank alike.

Rates have exact binomial intervals, as monitoring's. Whether the two rates differ is McNemar's exact test: under "no
difference" each record on which only one version alarms is a fair coin (Psychometrika 12, 1947).
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest, spearmanr

from components.comparing.wording import number, p_value, percent
from components.drifting.alarms import alarm_rate, largest_expected
from components.drifting.findings import Finding, judge
from components.params.drift import Params
from components.scoring.conformal import Calibration
from components.shadowing.answers import Pairs, Side

_MOST_LISTED = 1000


@dataclass(frozen=True)
class Comparison:
    """The champion and a version in shadow."""

    version: str
    """The one in shadow."""
    records: int
    """Scored by both; what follows is about the latest of them."""
    latest: int
    champion: Finding
    """Its alarm rate, held against its band as monitoring does."""
    other: Finding
    both: int
    """Records on which both alarm."""
    only_champion: int
    only_other: int
    p: float
    """That the rates are equal, by McNemar's exact test."""
    rank_correlation: float
    """Spearman's, of the scores; 1 where either gives all records one score."""

    def __str__(self) -> str:
        rates = [f"{percent(f.effect)} ({percent(f.low)} to {percent(f.high)})" for f in (self.other, self.champion)]
        return (
            f"version {self.version} alarms on {rates[0]} of the latest {number(self.latest)} records new to both, "
            f"the champion on {rates[1]}; limits {percent(self.other.limit)} and {percent(self.champion.limit)}; "
            f"{number(self.only_champion + self.only_other)} decisions differ (p {p_value(self.p)}), "
            f"rank correlation {self.rank_correlation:.3f}"
        )

    @property
    def figures(self) -> dict[str, float]:
        """All numbers, for MLflow; the four counts are the matrix of agreement."""
        sides = {"champion": self.champion, "shadow": self.other}
        rates = {
            f"{name}_alarm_rate{end}": float(value)
            for name, side in sides.items()
            for end, value in {"": side.effect, "_low": side.low, "_high": side.high, "_limit": side.limit}.items()
        }
        neither = self.latest - self.both - self.only_champion - self.only_other
        counts = {"both": self.both, "only_champion": self.only_champion, "only_shadow": self.only_other}
        return {
            "records": self.records,
            **rates,
            **{f"alarms_{name}": count for name, count in {**counts, "neither": neither}.items()},
            "p": self.p,
            "rank_correlation": self.rank_correlation,
        }


def compare(version: str, pairs: Pairs, champion: Calibration, other: Calibration, params: Params) -> Comparison:
    """Compare two versions on at least one record; `version` is the one in shadow."""
    ours, theirs = pairs.champion.alarms, pairs.other.alarms
    only = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    return Comparison(
        version,
        pairs.records,
        len(ours),
        _rate(pairs.champion, champion, params),
        _rate(pairs.other, other, params),
        int((ours & theirs).sum()),
        *only,
        p=float(binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0,
        rank_correlation=_correlation(pairs.champion.scores, pairs.other.scores),
    )


def _rate(side: Side, calibration: Calibration, params: Params) -> Finding:
    limit = largest_expected(calibration, params.limits.alarm_rate, params.confidence)
    return judge("alarm_rate", alarm_rate(side.alarms, params.confidence), limit, "")


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    both = [np.nan_to_num(scores, nan=np.inf, posinf=np.inf) for scores in (first, second)]
    if any((scores == scores[0]).all() for scores in both):
        return 1.0
    return float(spearmanr(*both).statistic)


def write_differences(pairs: Pairs, path: Path) -> None:
    """CSV of records that the two decide differently about, the latest first, as many as a person may read."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        head = ("score", "p_value", "alarm")
        writer.writerow(["id", *(f"{who}_{name}" for who in ("champion", "shadow") for name in head)])
        writer.writerows(_differences(pairs))


def _differences(pairs: Pairs) -> Iterator[list[object]]:
    rows = np.flatnonzero(pairs.champion.alarms != pairs.other.alarms)[::-1][:_MOST_LISTED]
    for row in rows:
        sides = [(s.scores[row], s.p_values[row], bool(s.alarms[row])) for s in (pairs.champion, pairs.other)]
        yield [pairs.ids[row], *sides[0], *sides[1]]

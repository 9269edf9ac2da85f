"""The study of calibration: do thresholds keep their promise? `make study-calibration`.

In:   Debian's package dataset-fashion-mnist; its two splits are one shuffled pool
Out:  docs/studies/calibration/table.csv

Shoes are normal, everything else is an anomaly. The model is a PCA of 128 components, over-fitted to 1,000 records.
Each of 200 resamples shuffles the shoes and deals them to training (1,000), calibration (n) and test (18,000).
The usual rule, the 95th percentile of training errors, holds no records out, so its model trains on the n records too.
Rates are those among the test records; false discoveries those of Benjamini and Hochberg's procedure on 400 normal
and 100 anomalous records.
"""

import csv
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import nn

from components.data.item import Item
from components.models.pca import PCA, Params
from components.scoring.conformal import Calibration, alarm_levels, reached
from components.scoring.multiple import discoveries
from components.scoring.score import score_records
from components.sources import Options, idx

DATA = Path("/usr/share/datasets/fashion-mnist")
SHOES = (5, 7, 9)
TRAINED, SIZES, RESAMPLES = 1000, (100, 500, 2000), 200
ALPHA, Q, BATCH, ANOMALIES = 0.05, 0.1, 500, 100


@dataclass(frozen=True)
class Outcome:
    """One rule on one resample."""

    rate: float
    """Share of normal test records that raise an alarm."""
    false: float
    """Share of normal records among those that are reported from the batch; 0 where none is."""
    found: float
    """Share of the batch's anomalies that are reported."""


@dataclass(frozen=True)
class Row:
    """One rule with one n, over all resamples."""

    n: int
    rule: str
    mean_rate: float
    rate_5_percent: float
    rate_95_percent: float
    sets_above_alpha: float
    false_discovery_rate: float
    anomalies_reported: float


class Unit(nn.Module):
    """Images of bytes to 0..1."""

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        """Shapes: (batch, *item) twice."""
        return raw.float() / 255


@dataclass(frozen=True)
class Draw:
    """One resample. Raw records (record, *item) each."""

    train: np.ndarray
    calibration: np.ndarray
    """The largest n of them; a smaller one takes the first."""
    test: np.ndarray
    anomalous: np.ndarray


def draw(normal: np.ndarray, anomalous: np.ndarray, generator: np.random.Generator) -> Draw:
    """Shuffle the pools."""
    shuffled = normal[generator.permutation(len(normal))]
    train, calibration, test = np.split(shuffled, [TRAINED, TRAINED + max(SIZES)])
    return Draw(train, calibration, test, anomalous[generator.choice(len(anomalous), ANOMALIES, replace=False)])


def fit(records: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Errors of the over-fitted model: a function of raw records."""
    model = PCA(Item((1, 28, 28), unit_range=True), Params(latent_dim=128))
    model.fit([Unit()(torch.from_numpy(records))])
    return lambda raw: score_records(model, Unit(), raw)


def outcome(levels: np.ndarray, threshold: np.ndarray, test: np.ndarray, anomalous: np.ndarray) -> Outcome:
    """What a rule makes of the scores of a test split.

    Args:
        levels: the smallest alpha at which a score that so many reach is an alarm (n + 1,), ascending.
        threshold: the ascending scores behind the rule (n,).
        test: of normal records.
        anomalous: of the anomalies.
    """
    alarms = levels[reached(threshold, test)] <= ALPHA
    batch = np.concatenate([test[: BATCH - ANOMALIES], anomalous])
    reported = discoveries(levels[reached(threshold, batch)], Q)
    false, found = reported[:-ANOMALIES].sum(), reported[-ANOMALIES:]
    return Outcome(float(alarms.mean()), false / max(reported.sum(), 1), float(found.mean()))


def judge(drawn: Draw) -> dict[tuple[int, str], Outcome]:
    """Every rule with every n, on one resample."""
    score = fit(drawn.train)
    held_out, test, anomalous = (score(of) for of in (drawn.calibration, drawn.test, drawn.anomalous))
    found = {}
    for n in SIZES:
        everything = np.concatenate([drawn.train, drawn.calibration[:n]])
        theirs = fit(everything)
        seen = np.sort(theirs(everything))
        usual = (theirs(drawn.test), theirs(drawn.anomalous))
        found[n, "percentile of training errors"] = outcome(_levels(len(seen), None), seen, *usual)
        for rule, confidence in (("split conformal", None), ("conditional, 0.95", 0.95)):
            fitted = Calibration.fit(held_out[:n], ALPHA, confidence)
            found[n, rule] = outcome(_levels(n, confidence), fitted.scores, test, anomalous)
    return found


def _levels(n: int, confidence: float | None) -> np.ndarray:
    return np.append(alarm_levels(n, confidence), 1.0)


def summarise(n: int, rule: str, outcomes: list[Outcome]) -> Row:
    """Over the resamples."""
    rates, false, found = np.array([astuple(outcome) for outcome in outcomes]).T
    low, high = np.quantile(rates, (0.05, 0.95))
    return Row(n, rule, rates.mean(), low, high, (rates > ALPHA).mean(), false.mean(), found.mean())


def run(scratch: Path) -> list[Path]:
    """Run the study; returns the files to keep, which lie in the folder `scratch`."""
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    parts = idx.read(DATA, Options(), scratch).parts
    records = np.concatenate([part.records for part in parts])
    is_normal = np.isin(np.concatenate([part.labels for part in parts]), SHOES)
    judged = [judge(draw(records[is_normal], records[~is_normal], generator)) for _ in range(RESAMPLES)]
    rows = [summarise(*key, [of[key] for of in judged]) for key in judged[0]]
    table = scratch / "table.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([field.name for field in fields(Row)])
        writer.writerows([row.n, row.rule, *(f"{value:.4g}" for value in astuple(row)[2:])] for row in rows)
    return [table]

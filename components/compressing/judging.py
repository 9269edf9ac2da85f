"""What compression cost: a compressed scorer beside the exported one, on the same test records.

Test is read to report and to gate; nothing is fitted to it and nothing is chosen by it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
import torch
from onnx import ModelProto
from onnxruntime import InferenceSession
from scipy.stats import norm, spearmanr

from components.compressing import MethodParams, Original
from components.compressing.recalibrating import feeds
from components.data.scaling import Scale
from components.data.splits import load_anomalous, load_records
from components.scoring.areas import Scored, place
from components.scoring.conformal import Calibration
from components.scoring.metrics import CONFIDENCE, alarm_tails, exact_rate, rankable

SIGNIFICANT = 0.05
"""One-sided level of the test of realised false alarms against the promise."""
_TINY = 1e-30
ALONE = 1000
"""Test records, evenly spread, that are also scored one by one."""


@dataclass(frozen=True)
class Answers:
    """What one graph says of the test records, in their order (record,)."""

    scores: np.ndarray
    alarms: np.ndarray
    squared_errors: np.ndarray
    """Of the reconstruction, in scaled units."""
    flips_alone: float
    """Share of the records scored alone that then get another decision than among others."""
    shift_alone: float
    """The largest change of their scores, relative."""


@dataclass(frozen=True)
class Judgement:
    """One entry of compression.json; all on test, with 95 % intervals."""

    bytes: int
    """Size of scorer.onnx."""
    sha256: str
    parameters: int
    """Learned numbers that are not zero."""
    mse: float
    """Squared error of normal records, in scaled units."""
    rank_correlation: float
    """Spearman's, of all scores with the exported scorer's."""
    flips: int
    """Decisions that differ from the exported scorer's."""
    batch_flips: float
    """See `Answers.flips_alone`."""
    batch_shift: float
    """See `Answers.shift_alone`."""
    alpha: float
    n: int
    m: int
    threshold: float
    upper_95: float
    normal_records: int
    false_alarms: int
    false_alarm_rate: float
    false_alarm_low: float
    false_alarm_high: float
    false_alarm_excess_p: float
    """Chance of so many false alarms where the promise holds."""
    auroc: float | None
    """The areas are None where test lacks records of one kind."""
    auroc_loss: float | None
    """The exported scorer's less this one's, interval by DeLong's formula."""
    auroc_loss_low: float | None
    auroc_loss_high: float | None


def measuring(model: ModelProto) -> bytes:
    """A graph that also gives the reconstruction, which the scorer of a table keeps to itself."""
    copy = ModelProto()
    copy.CopyFrom(model)
    if "reconstruction" not in {output.name for output in copy.graph.output}:
        copy.graph.output.append(onnx.helper.make_tensor_value_info("reconstruction", onnx.TensorProto.FLOAT, None))
    return copy.SerializeToString()


def answer(session: InferenceSession, original: Original) -> Answers:
    """Run a graph (see `measuring`) over the test split, and over some of its records one by one."""
    records, scale = load_records("test", original.prepared), Scale(original.manifest)
    scores, alarms, errors, done = [], [], [], 0
    for feed in feeds("test", original.manifest, original.prepared):
        score, alarm, x_hat = session.run(["score", "is_anomaly", "reconstruction"], feed)
        x = scale(torch.from_numpy(np.array(records[done : done + len(score)]))).numpy()
        done += len(score)
        scores.append(score)
        alarms.append(alarm)
        errors.append(np.square(x_hat - x).reshape(len(x), -1).mean(1))
    whole = Answers(*map(np.concatenate, (scores, alarms, errors)), 0.0, 0.0)
    rows = np.unique(np.linspace(0, done - 1, min(ALONE, done), dtype=int))
    score, alarm = _alone(session, original, rows)
    among = whole.scores[rows]
    shift = (np.abs(score - among) / np.maximum(among, _TINY))[np.isfinite(score) & np.isfinite(among)]
    flips = float((alarm != whole.alarms[rows]).mean())
    return replace(whole, flips_alone=flips, shift_alone=float(shift.max(initial=0.0)))


def _alone(session: InferenceSession, original: Original, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores and decisions of some test records, each in a batch of its own (row,)."""
    found = []
    for feed in feeds("test", original.manifest, original.prepared, rows=rows):
        for index in range(len(next(iter(feed.values())))):
            one = {name: values[index : index + 1] for name, values in feed.items()}
            found.append(session.run(["score", "is_anomaly"], one))
    score, alarm = zip(*found, strict=True)
    return np.concatenate(score), np.concatenate(alarm)


def judge(
    content: bytes, parameters: int, ours: Answers, theirs: Answers, calibration: Calibration, original: Original
) -> Judgement:
    """Set a compressed scorer beside the exported one.

    Args:
        content: of its file.
        parameters: see `Judgement`.
        ours: what it says of test; theirs: what the exported one says.
        calibration: its own.
    """
    anomalous = load_anomalous("test", original.manifest, original.prepared)
    usable = ~anomalous & np.isfinite(ours.squared_errors)
    false, normal = int(ours.alarms[~anomalous].sum()), int((~anomalous).sum())
    return Judgement(
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        parameters=parameters,
        mse=float(ours.squared_errors[usable].mean(dtype=np.float64)),
        rank_correlation=float(spearmanr(rankable(ours.scores), rankable(theirs.scores)).statistic),
        flips=int((ours.alarms != theirs.alarms).sum()),
        batch_flips=ours.flips_alone,
        batch_shift=ours.shift_alone,
        **{name: getattr(calibration, name) for name in ("alpha", "n", "m", "threshold", "upper_95")},
        normal_records=normal,
        false_alarms=false,
        false_alarm_rate=false / normal,
        **dict(zip(("false_alarm_low", "false_alarm_high"), exact_rate(false, normal)[1:], strict=True)),
        false_alarm_excess_p=alarm_tails(false, normal, calibration.n, calibration.m)[0],
        **areas(Scored(anomalous, np.stack([theirs.scores, ours.scores], axis=1))),
    )


def areas(scored: Scored) -> Mapping[str, float | None]:
    """The area under the curve of the second of two models, and what it lost to the first (see `Judgement`)."""
    if not scored.rankable:
        return dict.fromkeys(("auroc", "auroc_loss", "auroc_loss_low", "auroc_loss_high"))
    placements = place(scored)
    theirs, ours = placements.areas
    loss, covariance = float(theirs - ours), placements.covariance
    deviation = np.sqrt(max(0.0, covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]))
    reach = float(norm.ppf((1 + CONFIDENCE) / 2) * deviation)
    return {
        "auroc": float(ours),
        "auroc_loss": loss,
        "auroc_loss_low": loss - reach,
        "auroc_loss_high": loss + reach,
    }


def faults(judged: Judgement, limits: MethodParams) -> list[str]:
    """Why this scorer must not be published, in words; empty where it holds every limit."""
    found = []
    if judged.auroc_loss is not None and judged.auroc_loss > limits.max_auroc_loss:
        found.append(f"AUROC is {judged.auroc_loss:.4f} lower, allowed are {limits.max_auroc_loss:g}")
    if not judged.rank_correlation >= limits.min_rank_correlation:
        asked = f"asked for {limits.min_rank_correlation:g}"
        found.append(f"scores correlate with those of float32 by {judged.rank_correlation:.5f} in rank, {asked}")
    if judged.batch_flips > limits.max_batch_flips:
        among = f"{100 * judged.batch_flips:.2g} % of records get another decision alone than among others"
        found.append(f"{among}, allowed are {100 * limits.max_batch_flips:g} %")
    if judged.false_alarm_excess_p < SIGNIFICANT:
        rate = f"{100 * judged.false_alarm_rate:.1f} % of normal records raise an alarm"
        found.append(f"{rate}, significantly more than the promised {100 * judged.alpha:g} %")
    return found

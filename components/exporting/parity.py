"""The proof: every file gives what the torch model gives, on every test record, at several batch sizes.

Of a large split every record is run in batches of the largest size, and a share of it, evenly spread, in the smaller
ones too: a graph that depends on its batch size shows it on thousands of records, and one by one millions take days.

Three rules, b being the value of the torch model and a that of the file:
- Values: |a - b| <= 1e-4 |b| + an absolute part, because single values pass through zero and their errors do not. For
  scores it is 1e-7 of the median calibration score; for codes, reconstructions and the contributions of a table's
  columns 1e-5 of the largest |b| of the record and of the median record, added up. Two values that are not finite (an
  overflow) agree.
- p_value and is_anomaly belong to the file's own score exactly, by an independent count in numpy.
- A decision differs from the torch model's only where that score lies within its tolerance of the threshold.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.data.columns import CONTRIBUTION
from components.exporting.intake import Chunk, Records
from components.exporting.onnx_files import open_session
from components.exporting.scorer import CONTRIBUTIONS, INPUT, OUTPUTS, Scorer
from components.exporting.torchscript_files import load_torchscript
from components.scoring.conformal import Calibration

BATCHES = (1, 2, 7, 64)
CHUNK = math.lcm(*BATCHES)
"""Records compared at a time: whole batches of every size, so that only the split's end is ragged."""
EVERY = 25
"""Chunks that are run at every batch size: the first 25, 11,200 records, and from there each twenty-fifth."""

RELATIVE = 1e-4
SCORE_FLOOR = 1e-7
VALUE_FLOOR = 1e-5

Values = dict[str, np.ndarray]
"""Output name, then its values (batch, …)."""
Runner = Callable[[Records], Values]
"""From raw records (batch, …)."""


class ParityError(RuntimeError):
    """A file disagrees with the model it was made from: a fault of ours, never of the user's."""


class Peaks:
    """The largest |b| of each record, output by output; what is not finite counts as 0."""

    def __init__(self) -> None:
        self.parts: dict[str, list[np.ndarray]] = {}

    def add(self, expected: Values) -> None:
        """Take in the torch model's values of some records."""
        for name in {"reconstruction", "code", CONTRIBUTIONS} & expected.keys():
            sizes = np.abs(expected[name]).reshape(len(expected[name]), -1)
            self.parts.setdefault(name, []).append(np.where(np.isfinite(sizes), sizes, 0).max(1))

    def median(self, name: str) -> float:
        """That of the median record."""
        return float(np.median(np.concatenate(self.parts[name]).astype(np.float64)))


@dataclass
class Comparison:
    """One file against the torch model, over all records and batch sizes."""

    calibration: Calibration
    peaks: Peaks
    largest: dict[str, float] = field(default_factory=dict)
    """Output, then the largest difference."""
    excess: dict[str, float] = field(default_factory=dict)
    """Output, then the largest difference beyond what the record itself allows."""
    flips: int = 0
    flips_outside: int = 0
    inconsistent: int = 0
    """Records whose p_value or decision is not that of the file's own score."""

    def add(self, found: Values, expected: Values) -> None:
        """Take in the values of some records."""
        for name in ("reconstruction", "code", "score", CONTRIBUTIONS):
            if name in found:
                self._add_values(name, found[name].astype(np.float64), expected[name].astype(np.float64))
        if "score" in found:
            self._add_decisions(found, expected)

    def _add_values(self, name: str, found: np.ndarray, expected: np.ndarray) -> None:
        broken = ~np.isfinite(found) & ~np.isfinite(expected)
        with np.errstate(invalid="ignore"):  # one side infinite: the NaN that follows fails, as it should
            difference = np.where(broken, 0, np.abs(found - expected))
            size = np.where(broken, 0, np.abs(expected))
            peak = size.reshape(len(size), -1).max(1)
            per_record = 0 if name == "score" else VALUE_FLOOR * peak.reshape(-1, *[1] * (size.ndim - 1))
            self._raise_to(self.largest, name, difference)
            self._raise_to(self.excess, name, difference - RELATIVE * size - per_record)

    def _add_decisions(self, found: Values, expected: Values) -> None:
        self._raise_to(self.largest, "p_value", np.abs(found["p_value"].astype(np.float64) - expected["p_value"]))
        own_p_value = self.calibration.p_values(found["score"]).astype(np.float32)
        own_alarm = self.calibration.alarms(found["score"])
        self.inconsistent += int(((found["p_value"] != own_p_value) | (found["is_anomaly"] != own_alarm)).sum())
        flipped = found["is_anomaly"] != expected["is_anomaly"]
        score = expected["score"].astype(np.float64)
        near = np.abs(score - self.calibration.threshold) <= RELATIVE * np.abs(score) + self.floor("score")
        self.flips += int(flipped.sum())
        self.flips_outside += int((flipped & ~near).sum())

    @staticmethod
    def _raise_to(record: dict[str, float], name: str, values: np.ndarray) -> None:
        # np.maximum keeps NaN, which then fails every comparison
        record[name] = float(np.maximum(record.get(name, -np.inf), values.max()))

    def floor(self, name: str) -> float:
        """The part of an output's tolerance that is the same for all records."""
        if name == "score":
            return SCORE_FLOOR * float(np.median(self.calibration.scores))
        return VALUE_FLOOR * self.peaks.median(name)

    def faults(self) -> list[str]:
        """What breaks a rule, in words."""
        found = [
            f"{name} differs by up to {self.largest[name]:.3g}"
            for name, excess in self.excess.items()
            if not excess <= self.floor(name)
        ]
        if self.inconsistent:
            found.append(f"{self.inconsistent} p-values or decisions do not belong to their scores")
        if self.flips_outside:
            found.append(f"{self.flips_outside} decisions flip away from the threshold")
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain data; a record whose decision flips counts once for each batch size."""
        plain: dict[str, Any] = {"max_abs_difference": self.largest}
        if "score" in self.largest:
            plain |= {"flips": self.flips, "flips_outside_tolerance": self.flips_outside}
        return plain


def prove(
    reference: Runner,
    onnx: Mapping[str, Runner],
    torchscript: Runner | None,
    chunks: Iterable[Chunk],
    calibration: Calibration,
) -> dict[str, Any]:
    """Compare each file with the torch model; returns what parity.json says about it.

    Args:
        reference: runs the torch model.
        onnx: name of each ONNX file, then what runs it; "scorer" is one of them.
        torchscript: runs the archive, where there is one.
        chunks: the whole test split, CHUNK records at a time.
        calibration: what decisions are made by.

    Raises:
        ParityError: names each file and output that breaks a rule, and by how much.
    """
    peaks = Peaks()
    names = (*onnx, "torchscript") if torchscript else tuple(onnx)
    comparisons = {name: Comparison(calibration, peaks) for name in names}
    records, in_all_sizes = 0, 0
    for number, (tensor, raw) in enumerate(chunks):
        expected = reference(tensor)
        peaks.add(expected)
        sizes = BATCHES if number < EVERY or number % EVERY == 0 else BATCHES[-1:]
        records += len(tensor)
        in_all_sizes += len(tensor) * (sizes == BATCHES)
        for size in sizes:
            starts = range(0, len(tensor), size)
            for name, run in onnx.items():
                comparisons[name].add(_in_batches(run, [_batch(raw, at, size) for at in starts]), expected)
            if torchscript:
                batches = [tensor[at : at + size] for at in starts]
                comparisons["torchscript"].add(_in_batches(torchscript, batches), expected)
    faults = [f"{name}: {fault}" for name, comparison in comparisons.items() for fault in comparison.faults()]
    if faults:
        raise ParityError("exported files disagree with the torch model: " + "; ".join(faults))
    fullest = comparisons[names[-1]]  # the archive has every output for every kind of data
    floors = {name: fullest.floor(name) for name in fullest.excess}
    return {
        "records": records,
        "batches": list(BATCHES),
        "records_in_all_batches": in_all_sizes,
        "tolerance": {"relative": RELATIVE, "of_record_peak": VALUE_FLOOR, "absolute": floors},
        **{name: comparison.to_json() for name, comparison in comparisons.items()},
        "passed": True,
    }


def torch_runner(scorer: Scorer) -> Runner:
    """Run the torch model itself."""
    return _torch(scorer)


def torchscript_runner(path: Path) -> Runner:
    """Load an archive and run it."""
    return _torch(load_torchscript(path))


def onnx_runner(path: Path, threads: int) -> Runner:
    """Open one session for all batch sizes and run it; contributions come as one array (batch, column)."""
    session = open_session(path, threads)
    names = [output.name for output in session.get_outputs()]
    columns = [name for name in names if name.startswith(CONTRIBUTION)]

    def run(records: Records) -> Values:
        feed = records if isinstance(records, Mapping) else {INPUT: records}
        found = dict(zip(names, session.run(None, feed), strict=True))
        if columns:
            found[CONTRIBUTIONS] = np.column_stack([found.pop(name) for name in columns])
        return found

    return run


def _torch(module: Callable[[torch.Tensor], tuple[torch.Tensor, ...]]) -> Runner:
    @torch.inference_mode()
    def run(records: Records) -> Values:
        return dict(zip(OUTPUTS, (value.numpy() for value in module(torch.from_numpy(records))), strict=True))

    return run


def _batch(records: Records, start: int, size: int) -> Records:
    if isinstance(records, Mapping):
        return {name: values[start : start + size] for name, values in records.items()}
    return records[start : start + size]


def _in_batches(run: Runner, batches: list[Records]) -> Values:
    pieces = [run(batch) for batch in batches]
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

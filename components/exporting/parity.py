"""The proof: every file gives what the torch model gives, on every test record, at several batch sizes.

Of a large split every record is run in batches of the largest size, and a share of it, evenly spread, in the smaller
ones too: a graph that depends on its batch size shows it on thousands of records, and one by one millions take days.
The first records are also run in one large batch, repeated until it is full. `comparison` says what must agree.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.data.batches import batch_of
from components.data.columns import CONTRIBUTION
from components.exporting.comparison import RELATIVE, VALUE_FLOOR, Comparison, Peaks, Values
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
LARGE = 4096
"""Records of the large batch, or as many as a batch of such records may hold."""

TORCHSCRIPT = "torchscript"
"""Name of the archive in parity.json; it takes what the torch model takes."""
Runner = Callable[[Records], Values]
"""From raw records (batch, …)."""


class ParityError(RuntimeError):
    """A file disagrees with the model it was made from: a fault of ours, never of the user's."""


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
    runners = {**onnx, TORCHSCRIPT: torchscript} if torchscript else onnx
    comparisons = {name: Comparison(calibration, peaks) for name in runners}
    records, in_all_sizes, large = 0, 0, 0
    for number, (tensor, raw) in enumerate(chunks):
        expected = reference(tensor)
        given = {name: tensor if name == TORCHSCRIPT else raw for name in runners}
        peaks.add(expected)
        sizes = BATCHES if number < EVERY or number % EVERY == 0 else BATCHES[-1:]
        records += len(tensor)
        in_all_sizes += len(tensor) * (sizes == BATCHES)
        for size in sizes:
            starts = range(0, len(tensor), size)
            for name, run in runners.items():
                found = _in_batches(run, [_part(given[name], slice(at, at + size)) for at in starts])
                comparisons[name].add(found, expected)
                if size == BATCHES[-1]:
                    comparisons[name].add_ranks(found, expected)
        if number == 0:
            large = batch_of(tensor.shape[1:], LARGE)
            rows = np.resize(np.arange(len(tensor)), large)
            repeated = {name: values[rows] for name, values in expected.items()}
            for name, run in runners.items():
                comparisons[name].add(run(_part(given[name], rows)), repeated)
    faults = [f"{name}: {fault}" for name, comparison in comparisons.items() for fault in comparison.faults()]
    if faults:
        raise ParityError("exported files disagree with the torch model: " + "; ".join(faults))
    fullest = comparisons[[*runners][-1]]  # the archive has every output for every kind of data
    floors = {name: fullest.floor(name) for name in fullest.excess}
    return {
        "records": records,
        "batches": list(BATCHES),
        "large_batch": large,
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


def _part(records: Records, rows: slice | np.ndarray) -> Records:
    if isinstance(records, Mapping):
        return {name: values[rows] for name, values in records.items()}
    return records[rows]


def _in_batches(run: Runner, batches: list[Records]) -> Values:
    pieces = [run(batch) for batch in batches]
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

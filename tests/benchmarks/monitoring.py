"""What monitoring costs: a million scored records, from the file to the verdict of the martingale, and restarts.

One part of 1,000,000 records without a change against 10,000 calibration scores, one thread. The same records as 24
parts, each between two restarts, is what a day of hourly looks pays for them.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.drifting.memory import absorb, begin, load, save
from components.drifting.parts import new_parts
from components.params.drift import Params
from components.scoring.conformal import Calibration
from tests.benchmarks.ratios import Ratio

RECORDS = 1_000_000
CALIBRATION = 10_000
HOURS = 24
ROUNDS = 3


def measure() -> list[Ratio]:
    """Seconds for a million records in one go, and hour by hour."""
    generator = np.random.default_rng(0)
    calibration = Calibration.fit(generator.gamma(4, size=CALIBRATION).astype(np.float32), 0.05)
    scores = generator.gamma(4, size=RECORDS).astype(np.float32)
    with TemporaryDirectory() as folder:
        whole, hourly = Path(folder, "whole"), Path(folder, "hourly")
        _write(whole, calibration, [scores])
        _write(hourly, calibration, np.array_split(scores, HOURS))
        return [
            Ratio("1,000,000 p-values in one look", _rounds(whole, calibration), 10, at_least=False, unit=" s"),
            Ratio("the same in 24 looks, each after a restart", _rounds(hourly, calibration), 10, False, " s"),
        ]


def _write(folder: Path, calibration: Calibration, parts: list[np.ndarray]) -> None:
    folder.mkdir()
    for number, scores in enumerate(parts):
        ids = np.arange(len(scores)).astype(str)
        table = pa.table({"id": ids, "score": scores, "p_value": calibration.p_values(scores).astype(np.float32)})
        pq.write_table(table, folder / f"part-{number:02}.parquet")


def _rounds(folder: Path, calibration: Calibration) -> tuple[float, ...]:
    return tuple(_seconds(folder, calibration) for _ in range(ROUNDS))


def _seconds(folder: Path, calibration: Calibration) -> float:
    params = Params()
    with TemporaryDirectory() as home:
        path, begun = Path(home, "memory.safetensors"), time.perf_counter()
        memory = begin(calibration)
        for part in new_parts(folder, ()):
            memory = absorb(memory, part, calibration, params, seed=7)
            save(memory, path, "version")
            memory = load(path, "version", calibration)
        taken = time.perf_counter() - begun
    assert memory.stream.wealth.records == RECORDS
    return taken

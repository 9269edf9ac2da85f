"""What monitoring remembers of one version between two looks: one file, replaced as a whole, nothing in it runs.

A stream in many pieces leaves the same memory as in one go, but for the log of the looks themselves.
"""

import csv
import heapq
import json
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from components.drifting.findings import Finding
from components.drifting.martingale import Stream, Wealth, follow
from components.drifting.parts import Part
from components.params.drift import Params
from components.runtime.errors import UserError
from components.runtime.outputs import complete_file
from components.scoring.conformal import Calibration

_MOST_LOOKS = 2000


@dataclass(frozen=True)
class Extreme:
    """A record with one of the largest errors so far."""

    score: float
    number: int
    """In the order of arrival, from 0."""
    id: str
    part: str
    p_value: float


@dataclass(frozen=True)
class Memory:
    """The state of monitoring one version."""

    stream: Stream
    scores: np.ndarray
    """Of the latest records (record,) float32."""
    codes: np.ndarray
    """Of the latest records that came with a code, finite ones (record, unit) float32."""
    parts: tuple[str, ...] = ()
    """Keys of the parts that were looked at."""
    set_aside: tuple[str, ...] = ()
    """Names of those that another version scored; they were not counted."""
    gallery: tuple[Extreme, ...] = ()
    """Largest errors first."""
    rows: tuple[str, ...] = ()
    """Names of the files of raw rows that were looked at."""
    looks: tuple[dict[str, Any], ...] = ()
    """A line per look that found new records, for the curves of the report."""


def begin(calibration: Calibration) -> Memory:
    """Before the first record."""
    return Memory(Stream(calibration.scores), np.empty(0, np.float32), np.empty((0, 0), np.float32))


def absorb(memory: Memory, part: Part, calibration: Calibration, params: Params, seed: int) -> Memory:
    """The memory after one more part."""
    memory = replace(memory, parts=(*memory.parts, part.key))
    if not part.is_of(calibration):
        return replace(memory, set_aside=(*memory.set_aside, part.name))
    start = memory.stream.wealth.records
    codes = memory.codes
    if part.codes is not None:
        finite = part.codes[np.isfinite(part.codes).all(1)]
        codes = finite if codes.shape[1] != finite.shape[1] else np.concatenate([codes, finite])
    return replace(
        memory,
        stream=follow(memory.stream, part.scores, params.delta, params.memory, seed),
        scores=np.concatenate([memory.scores, part.scores])[-params.window :],
        codes=codes[-params.window :],
        gallery=_strangest([*memory.gallery, *_extremes(part, start, calibration, params.gallery)], params.gallery),
    )


def _extremes(part: Part, start: int, calibration: Calibration, most: int) -> list[Extreme]:
    scores = np.where(np.isnan(part.scores), np.inf, part.scores)
    rows = np.argsort(-scores, kind="stable")[:most]
    p_values = calibration.p_values(scores[rows])
    return [
        Extreme(float(scores[row]), start + int(row), part.ids[row], part.name, float(p))
        for row, p in zip(rows, p_values, strict=True)
    ]


def _strangest(extremes: Sequence[Extreme], most: int) -> tuple[Extreme, ...]:
    return tuple(heapq.nsmallest(most, extremes, key=lambda extreme: (-extreme.score, extreme.number)))


def write_gallery(gallery: Sequence[Extreme], path: Path) -> None:
    """CSV with a line per record, the largest error first."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([field.name for field in fields(Extreme)])
        writer.writerows(map(astuple, gallery))


def with_look(memory: Memory, at: datetime, alarm_rate: Finding) -> Memory:
    """The memory with one more line in its log: when, after how many records, and the numbers of the curves."""
    rate = alarm_rate.effect is not None and (alarm_rate.effect, alarm_rate.low, alarm_rate.high)
    wealth = memory.stream.wealth
    look = {
        "at": at.isoformat(timespec="seconds"),
        "records": wealth.records,
        "wealth": wealth.now / np.log(10),
        "peak": wealth.peak / np.log(10),
        "alarm_rate": rate or None,
    }
    return replace(memory, looks=(*memory.looks, look)[-_MOST_LOOKS:])


def save(memory: Memory, path: Path, version: str) -> None:
    """Write the memory; `version` says whose it is."""
    from safetensors.numpy import save_file

    wealth = memory.stream.wealth
    tensors = {
        "history": memory.stream.history,
        "growth": wealth.growth,
        "entered": wealth.entered,
        "wealth": np.array([wealth.now, wealth.peak]),
        "scores": memory.scores,
        "codes": memory.codes,
    }
    rest = {
        "version": version,
        "records": wealth.records,
        "crossed": memory.stream.crossed,
        "parts": memory.parts,
        "set_aside": memory.set_aside,
        "rows": memory.rows,
        "gallery": [asdict(extreme) for extreme in memory.gallery],
        "looks": memory.looks,
    }
    with complete_file(path) as temporary:
        contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
        save_file(contiguous, temporary, metadata={"state": json.dumps(rest)})


def load(path: Path, version: str, calibration: Calibration) -> Memory:
    """Read the memory, or begin where there is none of this very version.

    Raises:
        UserError: the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return begin(calibration)
    try:
        with safe_open(path, "numpy") as file:
            rest = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        if rest["version"] != version:  # a registry that was begun anew counts from 1 again
            return begin(calibration)
        now, peak = map(float, tensors["wealth"])
        wealth = Wealth(rest["records"], tensors["growth"], tensors["entered"], now, peak)
        return Memory(
            Stream(tensors["history"], wealth, rest["crossed"]),
            tensors["scores"],
            tensors["codes"],
            tuple(rest["parts"]),
            tuple(rest["set_aside"]),
            tuple(Extreme(**extreme) for extreme in rest["gallery"]),
            tuple(rest["rows"]),
            tuple(rest["looks"]),
        )
    except (SafetensorError, KeyError, TypeError, ValueError):
        fix = "restore it, or delete it: monitoring of this version, and its promise, then begin anew"
        raise UserError(str(path), "is damaged", fix) from None

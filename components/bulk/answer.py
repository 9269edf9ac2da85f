"""The answer: a folder of parts with decisions about the whole batch, their origin, and the strangest records.

`manifest.json` names every part with the digest that decides it, and no date, host or path: the same input and the
same version leave the same bytes. The folder is complete or absent.
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.bulk.model import Model
from components.bulk.parts import ranks, read_columns, rewrite_part, sync_folder
from components.bulk.running import Outcome, Placed
from components.runtime.errors import UserError
from components.runtime.outputs import sha256, write_json
from components.scoring.multiple import fewest_discoveries, last_discovery

MANIFEST, PAGE = "manifest.json", "strangest.html"
STRANGEST = 20
"""Records on the page."""


@dataclass(frozen=True)
class Strange:
    """One of the strangest records."""

    placed: Placed
    row: int
    """In its part."""
    id: str
    score: float
    p_value: float


@dataclass(frozen=True)
class Discoveries:
    """What --fdr found."""

    q: float
    """Of the reported records, on average at most this share is normal."""
    reported: int
    largest_p_value: float
    """That is reported; 0 where none is."""
    fewest: int
    """Anomalies of the smallest p-value that it takes before any is reported."""
    smallest_share: float
    """The same as a share of the batch."""


@dataclass(frozen=True)
class Counts:
    """What the scores come to."""

    records: int
    alarms: int
    ranks: np.ndarray
    """Records by (n + 1) times their p-value (n + 1,)."""


def earlier(out: Path) -> dict[str, Any]:
    """The manifest of an answer that lies in `out`; empty where there is none.

    Raises:
        UserError: something else lies there.
    """
    if not out.exists():
        return {}
    try:
        found = json.loads((out / MANIFEST).read_text())
        return found if found["parts"] is not None else {}
    except (OSError, ValueError, KeyError, TypeError):
        fix = "name another folder, or remove this one"
        raise UserError("--out", f"{out} is there, and holds no scores of an earlier run", fix) from None


def count(placed: Sequence[Placed], n: int) -> Counts:
    """The first pass over the parts."""
    counted, alarms = np.zeros(n + 1, np.int64), 0
    for each in placed:
        for p_values, alarmed in read_columns(each.part, "p_value", "is_anomaly"):
            counted += np.bincount(ranks(p_values, n) - 1, minlength=n + 1)
            alarms += int(alarmed.sum())
    return Counts(int(counted.sum()), alarms, counted)


def discover(counts: Counts, n: int, q: float) -> tuple[int, Discoveries]:
    """The last (n + 1)th that is reported, and what it means."""
    last = last_discovery(counts.ranks, q)
    reported = int(counts.ranks[:last].sum())
    fewest = fewest_discoveries(counts.records, n, q)
    return last, Discoveries(q, reported, last / (n + 1), fewest, 1 / (q * (n + 1)))


def strangest(placed: Sequence[Placed]) -> list[Strange]:
    """The records with the largest scores; of equal ones the first."""
    found: list[Strange] = []
    for each in placed:
        row = 0
        for ids, scores, p_values in read_columns(each.part, "id", "score", "p_value"):
            order = np.argsort(-_sortable(scores), kind="stable")[:STRANGEST]
            rows = [Strange(each, row + i, ids[i], float(scores[i]), float(p_values[i])) for i in order.tolist()]
            found = sorted([*found, *rows], key=lambda strange: -_sortable(np.array(strange.score)))[:STRANGEST]
            row += len(ids)
    return found


def _sortable(scores: np.ndarray) -> np.ndarray:
    """What is no number is stranger than every number."""
    return np.where(np.isnan(scores), np.inf, scores)


def describe(
    model: Model,
    outcome: Outcome,
    counts: Counts,
    found: Discoveries | None,
    strange: Sequence[Strange],
    by: str | None,
) -> dict[str, Any]:
    """What manifest.json says, without the digests of the parts' files."""
    return {
        "model": {"name": model.name, "version": model.version, "digest": model.digest, "calibration_n": model.n},
        "id": by,
        "records": counts.records,
        "alarms": counts.alarms,
        "fdr": asdict(found) if found else None,
        "skipped": [{"name": each.name, "reason": each.reason} for each in outcome.skipped],
        "strangest": [each.id for each in strange],
        "parts": [
            {"file": name_of(number), "key": each.part.key, "records": each.part.records, "input": each.input.shown}
            for number, each in enumerate(outcome.placed)
        ],
    }


def write(
    folder: Path, outcome: Outcome, last: int | None, described: dict[str, Any], page: str, n: int
) -> dict[str, Any]:
    """The second pass over the parts: write all of the answer into an empty folder; returns the manifest."""
    parts = []
    for number, (each, entry) in enumerate(zip(outcome.placed, described["parts"], strict=True)):
        part = rewrite_part(each.part, folder / name_of(number), last, n)
        parts.append({**entry, "sha256": sha256(part.path)})
    manifest = {**described, "parts": parts}
    (folder / PAGE).write_text(page, encoding="utf-8")
    write_json(folder / MANIFEST, manifest)
    for name in (PAGE, MANIFEST):
        with (folder / name).open("rb") as stream:
            os.fsync(stream.fileno())
    return manifest


def move(folder: Path, out: Path, old: Path) -> None:
    """Put an answer in its place; an earlier one gives way."""
    sync_folder(folder)
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    folder.rename(out)
    sync_folder(out.parent)


def name_of(number: int) -> str:
    """The file of a part."""
    return f"part-{number:05d}.parquet"

"""The answer: a folder of parts, their origin, and the strangest records.

`manifest.json` names every part with the digest that decides it, and no date, host or path: the same input and the
same version leave the same bytes. The folder is complete or absent.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.bulk.model import Model
from components.bulk.parts import Part, read_columns, sync_folder
from components.bulk.running import Outcome, Placed
from components.runtime.errors import UserError
from components.runtime.outputs import sha256, write_json

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
    values: tuple[Any, ...]
    """Of the columns that were asked for; the first says how strange it is."""


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


def strangest(placed: Sequence[Placed], *columns: str) -> list[Strange]:
    """The records with the largest values in the first of the columns; of equal ones the first."""
    found: list[Strange] = []
    for each in placed:
        row = 0
        for ids, *values in read_columns(each.part, "id", *columns):
            order = np.argsort(-_sortable(values[0]), kind="stable")[:STRANGEST]
            found += [Strange(each, row + i, ids[i], tuple(of[i] for of in values)) for i in order.tolist()]
            found = sorted(found, key=lambda strange: -_sortable(np.array(strange.values[0])))[:STRANGEST]
            row += len(ids)
    return found


def _sortable(scores: np.ndarray) -> np.ndarray:
    """What is no number is stranger than every number."""
    return np.where(np.isnan(scores), np.inf, scores)


def describe(model: Model, outcome: Outcome, strange: Sequence[Strange], by: str | None) -> dict[str, Any]:
    """What manifest.json says of every kind of answer, without the digests of the parts' files."""
    return {
        "model": {"name": model.name, "version": model.version, "digest": model.digest, "calibration_n": model.n},
        "id": by,
        "records": sum(each.part.records for each in outcome.placed),
        "skipped": [{"name": each.name, "reason": each.reason} for each in outcome.skipped],
        "strangest": [each.id for each in strange],
        "parts": [
            {"file": name_of(number), "key": each.part.key, "records": each.part.records, "input": each.input.shown}
            for number, each in enumerate(outcome.placed)
        ],
    }


def write(
    folder: Path, outcome: Outcome, described: dict[str, Any], page: str | None, place: Callable[[Part, Path], Part]
) -> dict[str, Any]:
    """Write all of the answer into an empty folder; returns the manifest.

    Args:
        folder: for the answer.
        outcome: its parts.
        described: see `describe`.
        page: of the strangest records; None where nothing is strange.
        place: puts a part where it is to lie in the end.
    """
    parts = []
    for each, entry in zip(outcome.placed, described["parts"], strict=True):
        part = place(each.part, folder / entry["file"])
        parts.append({**entry, "sha256": sha256(part.path)})
    manifest = {**described, "parts": parts}
    if page is not None:
        (folder / PAGE).write_text(page, encoding="utf-8")
    write_json(folder / MANIFEST, manifest)
    for path in folder.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    return manifest


def told_strangest(manifest: dict[str, Any], out: Path) -> str:
    """The line that names some of them."""
    return f"strangest   {', '.join(manifest['strangest'][:5])}: {out / PAGE}"


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

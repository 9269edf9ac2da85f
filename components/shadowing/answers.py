"""Answers of versions in shadow, beside those of the champion, and both as pairs of decisions about the same records.

    scores/ANSWER/                       the champion's, as batch scoring writes it
    scores/.shadow/ANSWER/VERSION/       the same batch by a version in shadow; monitoring does not see it

Pairs are made part by part: two parts belong together when they hold the same records, told by their digests. What
either version was fitted to is left out: on such records scores are smaller than on any that will come.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.runtime.errors import UserError

SHADOW = ".shadow"
_MANIFEST = "manifest.json"
_DECISIONS = ("score", "p_value", "is_anomaly")


@dataclass(frozen=True)
class Side:
    """What one version says (record,)."""

    scores: np.ndarray
    p_values: np.ndarray
    alarms: np.ndarray


@dataclass(frozen=True)
class Pairs:
    """Records that both versions scored and neither was fitted to, in the order of the champion's answers."""

    ids: np.ndarray
    """(record,) of strings."""
    champion: Side
    other: Side
    records: int
    """How many there were; of those before the latest ones only the number is kept."""


def place(answer: Path, version: str) -> Path:
    """Where a version in shadow answers."""
    return answer.parent / SHADOW / answer.name / version


def read_pairs(scored: Path, champion: str, other: str, is_new: Callable[[np.ndarray], np.ndarray], most: int) -> Pairs:
    """What two versions said about the same records.

    Args:
        scored: folder that holds answers, at any depth.
        champion: NAME/VERSION.
        other: the same of the version in shadow.
        is_new: of digests (record,), which belong to records that neither version was fitted to.
        most: latest records that are kept.

    Raises:
        UserError: a part cannot be read.
    """
    tables: list[pa.Table] = []
    total = 0
    for ours, theirs in _parts(scored, champion, other):
        new = is_new(ours["digest"].to_numpy())
        total += int(new.sum())
        tables.append(_joined(ours, theirs).filter(pa.array(new)))
        while sum(map(len, tables[1:])) >= most:  # the oldest part is not among the latest records any more
            tables.pop(0)
    if not tables:
        nothing = Side(np.empty(0), np.empty(0), np.empty(0, bool))
        return Pairs(np.empty(0, object), nothing, nothing, 0)
    kept = pa.concat_tables(tables)
    values = {name: kept[name].to_numpy()[-most:] for name in kept.column_names}
    sides = [Side(*(values[f"{which}.{name}"] for name in _DECISIONS)) for which in ("ours", "theirs")]
    return Pairs(values["id"], *sides, records=total)


def _joined(ours: pa.Table, theirs: pa.Table) -> pa.Table:
    sides = {"ours": ours, "theirs": theirs}
    decisions = {f"{which}.{name}": side[name] for which, side in sides.items() for name in _DECISIONS}
    return pa.table({"id": ours["id"], **decisions})


def _parts(scored: Path, champion: str, other: str) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Pairs of parts with the same records, each of the champion's parts once."""
    seen: set[str] = set()
    version = other.rpartition("/")[2]
    for shadow in sorted(path.parent for path in scored.rglob(f"{SHADOW}/*/{version}/{_MANIFEST}")):
        answer = shadow.parents[2] / shadow.parent.name
        if _by(answer) != champion or _by(shadow) != other:
            continue
        theirs = {_records(path): path for path in _files(shadow)}
        for path in _files(answer):
            key = _records(path)
            if key in theirs and key not in seen:
                seen.add(key)
                yield _read(path, "digest", "id", *_DECISIONS), _read(theirs[key], *_DECISIONS)


def _files(answer: Path) -> list[Path]:
    return sorted(answer.glob("part-*.parquet"))


def _read(path: Path, *columns: str) -> pa.Table:
    try:
        return pq.read_table(path, columns=list(columns))
    except (OSError, pa.ArrowException) as error:
        what = f"is no readable part ({str(error).partition(chr(10))[0]})"
        raise UserError(str(path), what, "score that batch again") from None


def _records(path: Path) -> str:
    """What a part's records are known by."""
    return hashlib.sha256(_read(path, "digest")["digest"].to_numpy().tobytes()).hexdigest()


def _by(answer: Path) -> str | None:
    """NAME/VERSION that made an answer; None where there is none."""
    try:
        model: dict[str, Any] = json.loads((answer / _MANIFEST).read_text())["model"]
        return f"{model['name']}/{model['version']}"
    except (OSError, ValueError, KeyError, TypeError):
        return None


def clear(scored: Path, versions: set[str]) -> None:
    """Remove answers of versions that are in shadow no more; `versions` are those that are."""
    for answer in [path for folder in scored.rglob(SHADOW) for path in folder.glob("*/*")]:
        if answer.name not in versions and not answer.name.startswith("."):
            shutil.rmtree(answer)

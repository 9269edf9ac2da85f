"""What every variant said about each single record, with the proof that all speak of the same records."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.comparing.candidates import Candidate
from components.runtime.errors import UserError

Table = dict[str, tuple[str, ...]]
"""A CSV file by columns, as text."""


@dataclass(frozen=True)
class Scored:
    """Records of one split and their scores by each candidate."""

    anomalous: np.ndarray
    """(record,) bool."""
    scores: np.ndarray
    """(record, candidate), higher is stranger."""

    @property
    def rankable(self) -> bool:
        """Whether there are enough records of both kinds for an area under the curve and its spread."""
        return min(self.anomalous.sum(), (~self.anomalous).sum()) >= 2


@dataclass(frozen=True)
class Records:
    """What comparisons rest on; candidates in the order they were given in."""

    validation: np.ndarray
    """Squared errors (candidate, 2, record): the network's, then those of PCA at its code size."""
    selection: Scored
    """Without records where selection does not hold both kinds."""
    test: Scored
    test_errors: np.ndarray
    """Squared errors (record, candidate), of anomalous records too."""


def load_records(candidates: Sequence[Candidate], artifacts: Path) -> Records:
    """Everything that is known by record.

    Raises:
        UserError: a file is missing or damaged, or two candidates were not judged on the same records.
    """
    names = [candidate.name for candidate in candidates]
    _refuse_unlike(names, [candidate.config["data_digest"] for candidate in candidates], "the digest of their data")
    kinds, trained, evaluated = ("record", "is_anomalous"), artifacts / "train", artifacts / "evaluate"
    tests = [_read(evaluated / name / "scores.csv", (*kinds, "class", "score", "squared_error")) for name in names]
    chosen_on = [_read(evaluated / name / "selection.csv", (*kinds, "score")) for name in names]
    for tables, keys in ((tests, (*kinds, "class")), (chosen_on, kinds)):
        _refuse_unlike(names, [[table[key] for key in keys] for table in tables], "the order of their records")
    validation = [_load(trained / name / "validation_errors.npy") for name in names]
    _refuse_unlike(names, [errors.shape for errors in validation], "the number of their validation records")
    return Records(
        validation=np.stack(validation).astype(np.float64),
        selection=_scored(chosen_on),
        test=_scored(tests),
        test_errors=_matrix(tests, "squared_error"),
    )


def load_scored(folders: Sequence[Path]) -> Scored:
    """What the scores.csv of each of these folders says of the test records.

    Raises:
        UserError: a file is missing or damaged, or two do not hold the same records.
    """
    keys = ("record", "is_anomalous", "class")
    tables = [_read(folder / "scores.csv", (*keys, "score")) for folder in folders]
    names = [folder.name for folder in folders]
    _refuse_unlike(names, [[table[key] for key in keys] for table in tables], "the order of their records")
    return _scored(tables)


def _refuse_unlike(names: Sequence[str], found: Sequence[Any], what: str) -> None:
    for name, of in zip(names, found, strict=True):
        if of != found[0]:
            fix = "run `dvc repro`, which judges all variants on the same data"
            raise UserError(f"{names[0]} and {name}", f"cannot be compared record by record, {what} differs", fix)


def _scored(tables: Sequence[Table]) -> Scored:
    return Scored(np.array(tables[0]["is_anomalous"], dtype=int) == 1, _matrix(tables, "score"))


def _matrix(tables: Sequence[Table], column: str) -> np.ndarray:
    return np.array([table[column] for table in tables], dtype=np.float64).T


def _read(path: Path, columns: Sequence[str]) -> Table:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            header, *rows = csv.reader(stream)
        table = dict(zip(header, zip(*rows, strict=True) if rows else [()] * len(header), strict=True))
        return {column: table[column] for column in columns}
    except FileNotFoundError:
        raise _missing(path) from None
    except (ValueError, KeyError):
        raise _damaged(path, "is not the table that this version writes") from None


def _load(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise _missing(path) from None
    except (ValueError, EOFError):
        raise _damaged(path, "is no valid .npy file") from None


def _missing(path: Path) -> UserError:
    return UserError(str(path), "is missing", f"run `dvc repro {_stage(path)}` first")


def _damaged(path: Path, what: str) -> UserError:
    return UserError(str(path), what, f"run `dvc repro -f -s {_stage(path)}` to make it again")


def _stage(path: Path) -> str:
    return f"{path.parts[-3]}@{path.parts[-2]}"

"""How far apart two files are that should be the same bytes: the largest difference of any number in them."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Numbers = dict[str, np.ndarray]
"""By column, key or name of tensor."""


def largest_difference(one: Path, other: Path) -> str:
    """In words, and by which name; empty for a kind of file, by the suffix of `other`, whose numbers are not read."""
    read = _READERS.get(other.suffix)
    if read is None:
        return ""
    try:
        before, after = read(one), read(other)
    except (OSError, ValueError, KeyError, TypeError):
        return "cannot be read"
    if {name: of.shape for name, of in before.items()} != {name: of.shape for name, of in after.items()}:
        return "has other names or shapes"
    gaps = {name: float(_gap(before[name], after[name])) for name in before if before[name].size}
    name = max(gaps, key=lambda name: gaps[name], default="")
    if not gaps or not gaps[name]:
        return "every number is equal"
    return f"largest difference {gaps[name]:.3g}{f' ({name})' if name else ''}"


def _gap(one: np.ndarray, other: np.ndarray) -> np.floating:
    # two that are no number are equal here, one that became one is infinitely far
    one, other = (values.astype(np.float64) for values in (one, other))
    apart = np.abs(one - other)
    return np.where((one == other) | (np.isnan(one) & np.isnan(other)), 0, np.nan_to_num(apart, nan=np.inf)).max()


def _array(path: Path) -> Numbers:
    return {"": np.load(path, allow_pickle=False)}


def _tensors(path: Path) -> Numbers:
    from safetensors.numpy import load_file

    return load_file(path)


def _table(path: Path) -> Numbers:
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    numbers = {name: [_number(cell) for cell in cells] for name, cells in columns.items()}
    return {name: np.array(cells, float) for name, cells in numbers.items() if None not in cells}


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _json(path: Path) -> Numbers:
    return {name: np.array(value, float) for name, value in _leaves(json.loads(path.read_text()), "")}


def _leaves(value: Any, name: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(inner, f"{name}.{key}".removeprefix("."))
    elif isinstance(value, int | float):
        yield name, value


_READERS: dict[str, Callable[[Path], Numbers]] = {
    ".npy": _array,
    ".safetensors": _tensors,
    ".csv": _table,
    ".json": _json,
}

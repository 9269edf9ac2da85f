"""Tables: columns recognised, fitted on training rows, written as features and as the raw columns they came from.

The table goes by three times, a chunk at a time: to recognise its columns, to gather the rows that preprocessing is
fitted on, and to write. Appended rows leave the old ones in their splits, because what a row is dealt by is all of its
cells but the label and the columns that params drop, however its columns are recognised.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from components.data.dealing import content_hashes
from components.data.splits import Scaling
from components.params import unknown
from components.params.prepare import Params
from components.preparing.cells import tidy
from components.preparing.content import Layout, Observed, Rows
from components.preparing.plans import Plan, describe, plan
from components.preparing.recognition import ColumnProfile, Recognised, no_column_left, recognise
from components.runtime.errors import UserError
from components.sources import RawTable

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

FITTED_ON = 50_000
"""Training rows that preprocessing is fitted on; of more, those with the smallest hash of their content."""
MOST_CLASSES = 1000
_BLOCK = 4096
"""Rows whose features are in memory at a time."""


class TableContent:
    """See `Content`.

    Raises:
        UserError: params name a column that is not there, a cell does not fit its column, a label or a group is
            missing, or no column is of use.
    """

    kind = "table"
    source_normal = None

    def __init__(self, raw: RawTable, params: Params) -> None:
        self._raw, self._params = raw, params
        _check_names(raw.columns, params)
        apart = {params.label, params.group}
        self._candidates = [name for name in raw.columns if name not in apart]
        if all(params.columns.get(name) == "drop" for name in self._candidates):
            raise no_column_left(dict.fromkeys(self._candidates, "declared"))
        self._recognised = self._read()
        self._check_ranges()
        self.own_test = np.zeros(len(self._contents), bool)
        self._outside = dict.fromkeys(params.ranges, 0)
        self._missing: dict[str, float] = {}

    def hashes(self, key: str) -> np.ndarray:
        """By content, or by the group that `prepare.group` names."""
        return content_hashes(self._contents if self._groups is None else self._groups, key)

    def write(self, folder: Path, rows: Rows) -> Layout:
        """SPLIT.npy (record, feature), SPLIT.parquet with the columns behind them, and preprocess.onnx."""
        from components.preparing.preprocess import convert, fit_transformer

        sample = self._sample(rows["train"])
        planned = {name: plan(sample[name], kind, self._params.min_level_count)
                   for name, kind in self._recognised.kinds.items()}  # fmt: skip
        dropped = {name: reason for name, reason in planned.items() if isinstance(reason, str)}
        dropped = self._recognised.dropped | dropped
        plans = [each for each in planned.values() if isinstance(each, Plan)]
        if not plans:
            raise no_column_left(dropped)
        cells = {each.name: each.canonical(sample[each.name]) for each in plans}
        model = convert(plans, fit_transformer(plans, cells, self._params.scaling))
        (folder / "preprocess.onnx").write_bytes(model.SerializeToString(deterministic=True))
        ranges = self._write_rows(folder, rows, plans, model)
        self._missing = {each.name: self._recognised.missing[each.name] for each in plans}
        columns = describe(plans)
        train = np.load(folder / "train.npy", mmap_mode="r")
        return Layout(
            item_shape=[columns[-1].stop],
            dtype="float32",
            value_range=[float(train.min()), float(train.max())],
            scaling=Scaling([0.0], [1.0]),
            columns=columns,
            dropped_columns=dropped,
            column_ranges=ranges,
        )

    def observed(self) -> Observed:
        """Empty cells, numbers outside of the ranges that params declare, and what repeats although groups part it."""
        contents = None if self._groups is None else self._contents.view(np.uint64)
        return Observed(missing=self._missing, outside=self._outside, contents=contents)

    def _chunks(self) -> Iterator[tuple[int, pd.DataFrame]]:
        """(first row, tidy cells) from the first row to the last."""
        start = 0
        for chunk in self._raw.chunks():
            yield start, chunk.apply(tidy)
            start += len(chunk)

    def _read(self) -> Recognised:
        """The first pass: columns, labels, and a digest (row, 16) uint8 of each row's content and of its group."""
        group, declared = self._params.group, self._params.columns
        used = [name for name in self._candidates if declared.get(name) != "drop"]
        profiles = [ColumnProfile(name) for name in self._candidates]
        labels, contents, groups = _Labels(self._params.label), [], []
        for start, chunk in self._chunks():
            for profile in profiles:
                profile.update(chunk[profile.name], start)
            if self._params.label:
                labels.update(chunk[self._params.label], start)
            contents.append(_digests(chunk[used]))
            if group:
                _refuse_empty(chunk[group], start, "prepare.group")
                groups.append(_digests(chunk[[group]]))
        self._contents = np.concatenate([np.empty((0, 16), np.uint8), *contents])
        self._groups = np.concatenate(groups) if group else None
        if len(self._contents) < 2:
            raise UserError("artifacts/ingest", "the table has one row", "add rows")
        self.classes, self.labels = labels.settle(len(self._contents))
        return recognise(profiles, declared)

    def _sample(self, train: np.ndarray) -> pd.DataFrame:
        """The second pass: the tidy cells of the training rows to fit on, in their order."""
        draws = self._contents[train, :8].copy().view(">u8").reshape(-1)
        chosen = np.sort(train[np.argsort(draws, kind="stable")[:FITTED_ON]])
        used = list(self._recognised.kinds)
        pieces = []
        for start, chunk in self._chunks():
            low, high = np.searchsorted(chosen, [start, start + len(chunk)])
            pieces.append(chunk[used].iloc[chosen[low:high] - start])
        return pd.concat(pieces, ignore_index=True)

    def _write_rows(self, folder: Path, rows: Rows, plans: list[Plan], model: "ModelProto") -> dict[str, list[float]]:
        """The third pass; returns the smallest and largest value of each numeric column."""
        from components.preparing.schema import failures, table_schema
        from components.preparing.split_files import SplitFiles

        session, columns = _session(model), describe(plans)
        allowed = {name: (low, high) for name, (low, high) in self._params.ranges.items()}
        schema = table_schema({each.name: each.kind for each in plans}, allowed)
        spans: dict[str, list[float]] = {}
        with ExitStack() as stack:
            files = {split: stack.enter_context(SplitFiles(folder, split, columns, len(of_split)))
                     for split, of_split in rows.items()}  # fmt: skip
            for start, chunk in self._chunks():
                cells = {each.name: each.canonical(chunk[each.name]) for each in plans}
                outside = failures(schema, pd.DataFrame(cells))
                self._outside = {name: count + outside.get(name, 0) for name, count in self._outside.items()}
                _widen(spans, {each.name: cells[each.name] for each in plans if each.kind == "numeric"})
                for split, of_split in rows.items():
                    low, high = np.searchsorted(of_split, [start, start + len(chunk)])
                    if low < high:
                        here = {name: values[of_split[low:high] - start] for name, values in cells.items()}
                        files[split].append(here, _features(session, here, plans))
        return spans

    def _check_ranges(self) -> None:
        for name in self._params.ranges:
            kind = self._recognised.kinds.get(name)
            if kind != "numeric":
                what = f"column '{name}' is {kind or 'dropped'}, only numeric ones have a range"
                raise UserError(f"prepare.ranges.{name}", what, "remove the range, or declare the column numeric")


class _Labels:
    """Classes in the order they turn up, then in order of their names."""

    def __init__(self, column: str | None) -> None:
        self._column, self._codes, self._seen = column, {}, []

    def update(self, cells: pd.Series, start: int) -> None:
        _refuse_empty(cells, start, "prepare.label")
        codes, names = pd.factorize(cells)
        known = [self._codes.setdefault(name, len(self._codes)) for name in names]
        if len(self._codes) > MOST_CLASSES:
            what = f"column '{self._column}' has more than {MOST_CLASSES:,} values"
            raise UserError("prepare.label", what, "name a column of classes, or null")
        self._seen.append(np.array(known, np.int64)[codes])

    def settle(self, rows: int) -> tuple[tuple[str, ...], np.ndarray]:
        """The classes, and (row,) int64 the class of each row, -1 without labels."""
        if self._column is None:
            return (), np.full(rows, -1, np.int64)
        classes = sorted(self._codes)
        place = np.array([classes.index(name) for name in self._codes], np.int64)
        return tuple(classes), place[np.concatenate(self._seen)]


def _check_names(columns: tuple[str, ...], params: Params) -> None:
    named = [("prepare.label", params.label), ("prepare.group", params.group)]
    named += [("prepare.columns", name) for name in params.columns]
    named += [("prepare.ranges", name) for name in params.ranges]
    for where, name in named:
        if name is not None and name not in columns:
            raise unknown(where, "column", name, columns)


def _refuse_empty(cells: pd.Series, start: int, where: str) -> None:
    empty = (cells == "").to_numpy(bool)
    if empty.any():
        what = f"column '{cells.name}' is empty in row {start + int(empty.argmax()) + 1}"
        raise UserError(where, what, "fill the cell, or remove the row")


def _widen(spans: dict[str, list[float]], cells: dict[str, np.ndarray]) -> None:
    """Let each column's [smallest, largest] value take in these; missing ones do not count."""
    for name, values in cells.items():
        if len(present := values[~np.isnan(values)]):
            low, high = spans.get(name, (np.inf, -np.inf))
            spans[name] = [float(min(low, present.min())), float(max(high, present.max()))]


def _digests(chunk: pd.DataFrame) -> np.ndarray:
    """(row, 16) uint8 of the cells of each row."""
    rows = zip(*(chunk[name].tolist() for name in chunk), strict=True)
    digests = (hashlib.blake2b("\x1f".join(row).encode(), digest_size=16).digest() for row in rows)
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16)


def _session(model: "ModelProto") -> "InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _features(session: "InferenceSession", cells: dict[str, np.ndarray], plans: list[Plan]) -> Iterator[np.ndarray]:
    """(row, feature) float32 as the graph makes them, block by block.

    Raises:
        UserError: a number so far from the training values that its scaled form is none.
    """
    for first in range(0, len(cells[plans[0].name]), _BLOCK):
        features = session.run(None, {name: values[first : first + _BLOCK] for name, values in cells.items()})[0]
        wrong = ~np.isfinite(features)
        if wrong.any():
            owners = [each.name for each in plans for _ in range(each.width)]
            what = f"column '{owners[int(wrong.any(0).argmax())]}' holds numbers too far apart to be scaled"
            fix = "set prepare.scaling to quantile, or drop the column in prepare.columns"
            raise UserError("artifacts/ingest", what, fix)
        yield features

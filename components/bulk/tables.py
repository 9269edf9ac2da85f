"""Tables: CSV, TSV and Parquet, cells read as prepare reads them; columns that the model does not take are ignored."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.bulk.model import Model
from components.bulk.pieces import Batch, File, Piece, batch_size, digest_of, piece_size
from components.data.columns import Column
from components.runtime.errors import UserError
from components.sources.table import DELIMITERS, SUFFIXES, Span, column_names, read_part

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SUFFIXES", "batches", "digest", "pieces", "takes"]

_BLOCK = 1 << 22
_EXPECTED = {"numeric": "a finite number", "boolean": "true or false", "date": "a date (ISO 8601)"}
_LONGEST_CELL = 60  # characters of a cell in a message


def takes(model: Model) -> bool:
    """Tables."""
    return model.manifest.kind == "table"


def pieces(files: Sequence[File], model: Model, _: Path) -> Iterator[Piece]:
    """Rows of CSV, row groups of Parquet; a file without rows has no piece."""
    for file in files:
        names = column_names(file.path)
        for column in model.manifest.columns:
            if column.name not in names:
                what = f"has no column '{column.name}', which {model} takes (it has {', '.join(names)})"
                raise UserError(file.name, what, "add it, or score with a model of this table")
        spans = _csv_spans if file.path.suffix.lower() in DELIMITERS else _parquet_spans
        for span in spans(file.path, piece_size(model)):
            yield Piece((file,), span.start, span.stop, span.row)


def digest(piece: Piece) -> str:
    """The names of the columns, and the bytes of its rows."""
    path = piece.files[0].path
    start, stop = piece.start, piece.stop
    if path.suffix.lower() not in DELIMITERS:
        start, stop = _bytes_of_groups(path, start, stop)
    return digest_of((path.suffix.lower(), column_names(path)), [(path, start, stop)])


def batches(piece: Piece, model: Model, id_column: str | None) -> Iterator[Batch]:
    """Its rows, named by the cells of a column, or FILE:ROW."""
    file, columns, size = piece.files[0], model.manifest.columns, batch_size(model)
    wanted = [column.name for column in columns]
    if id_column and id_column not in column_names(file.path):
        raise UserError(
            "--id", f"{file.name} has no column '{id_column}'", f"it has {', '.join(column_names(file.path))}"
        )
    read = wanted + ([id_column] if id_column and id_column not in wanted else [])
    row = piece.row
    for chunk in read_part(file.path, read, Span(piece.start, piece.stop, piece.row)):
        for start in range(0, len(chunk), size):
            part = chunk.iloc[start : start + size]
            feed = {column.name: _values(part[column.name], column, file.name, row) for column in columns}
            ids = part[id_column].tolist() if id_column else [f"{file.name}:{row + i}" for i in range(len(part))]
            yield Batch(ids, feed)
            row += len(part)


def _values(cells: "pd.Series", column: Column, name: str, row: int) -> np.ndarray:
    """What the graph takes of a column: (row,) float32 or str."""
    from components.preparing.cells import canonical, tidy

    tidied = tidy(cells)
    values = canonical(tidied, column.kind, column.origin)
    if column.kind in _EXPECTED:
        understood = values != "" if column.kind == "boolean" else np.isfinite(values.astype(np.float32))
        unread = (tidied != "").to_numpy(bool) & ~understood
        if unread.any():
            at = int(unread.argmax())
            found = repr(cells.iloc[at])
            found = found if len(found) <= _LONGEST_CELL else f"{found[:_LONGEST_CELL]}…"
            what = f"row {row + at}, column '{column.name}': found {found}, expected {_EXPECTED[column.kind]}"
            raise UserError(name, f"{what}, or nothing for a missing value", "mend the cell")
    return values


def _csv_spans(path: Path, rows: int) -> Iterator[Span]:
    """Stretches of at most this many lines; a line break inside quotes ends none."""
    ends = _row_ends(path)
    start = next(ends, None)  # behind the names of the columns
    row = 0
    while start is not None and (some := list(itertools.islice(ends, rows))):
        yield Span(start, some[-1], row)
        start, row = some[-1], row + len(some)


def _row_ends(path: Path) -> Iterator[int]:
    """The byte behind each row that is not empty, the names of the columns first; the last may lack its line break."""
    quotes, at, last, before, size = 0, 0, 0, 0, path.stat().st_size
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            values = np.frombuffer(block, np.uint8)
            inside = (np.cumsum(values == ord('"')) + quotes) & 1
            for end in (np.flatnonzero((values == ord("\n")) & (inside == 0)) + at + 1).tolist():
                length, previous = end - last, block[end - at - 2] if end - at > 1 else before
                # a blank line is no row; it goes with the next one
                if length > 2 or (length == 2 and previous != ord("\r")):
                    yield end
                last = end
            quotes, at, before = int(inside[-1]), at + len(block), block[-1]
    if last < size:
        yield size


def _parquet_spans(path: Path, rows: int) -> Iterator[Span]:
    """Consecutive row groups of together at most this many rows, at least one."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    start, row, held = 0, 0, 0
    for group, size in enumerate(sizes):
        if held and held + size > rows:
            yield Span(start, group, row)
            start, row, held = group, row + held, 0
        held += size
    if held:
        yield Span(start, len(sizes), row)


def _bytes_of_groups(path: Path, start: int, stop: int) -> tuple[int, int]:
    """Where the values of some consecutive row groups begin and end in the file."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        groups = [file.metadata.row_group(group) for group in range(start, stop)]
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    begins = [min(filter(None, (column.dictionary_page_offset, column.data_page_offset))) for column in columns]
    return min(begins), max(b + column.total_compressed_size for b, column in zip(begins, columns, strict=True))

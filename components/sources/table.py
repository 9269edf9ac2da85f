"""table: CSV, TSV or Parquet, one file or a folder of parts that all have the same columns.

CSV: UTF-8 with or without a byte order mark, comma (.csv) or tab (.tsv) between cells, `"` around a cell that holds one
of these, names of the columns in the first line; every line has as many cells as the first. A column without a name is
called `Unnamed: N`, as pandas does it. Cells of Parquet are read as the strings that CSV would hold: numbers in their
shortest form, times as ISO 8601.
"""

import csv
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.runtime.errors import UserError
from components.sources import Options, RawFile, RawTable, Request, Source, refuse_escape

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*DELIMITERS, ".parquet")
_BLOCK = 1 << 22
"""Bytes of CSV parsed at a time; no line may be longer."""
_BATCH = 1 << 16
"""Rows of Parquet read at a time."""


@dataclass(frozen=True)
class Span:
    """A stretch of one part."""

    start: int
    """Byte of CSV, the first of a row; or row group of Parquet."""
    stop: int
    """Behind the last one."""
    row: int
    """Rows before it."""


def fetch(request: Request) -> Iterator[RawFile]:
    """The parts as they are; their columns are compared before anything is copied.

    Raises:
        UserError: no such file, no table in the folder, or parts of different columns.
    """
    place = Path(request.path or "")
    if request.path is None or not place.exists():
        raise UserError("ingest.path", f"{request.path} is not there", "name the table, or the folder of its parts")
    if place.is_file() and place.suffix.lower() not in SUFFIXES:
        what = f"{place} does not end in {', '.join(SUFFIXES)}"
        raise UserError("ingest.path", what, "save the table as one of these")
    folder = place.parent if place.is_file() else place
    parts = [place] if place.is_file() else _parts(folder)
    if place.is_dir():
        for part in parts:
            refuse_escape(part, folder)
    _common_columns(parts)
    for part in parts:
        name = part.relative_to(folder).as_posix()
        yield RawFile(name, lambda target, part=part: shutil.copyfile(part, target))


def read(raw: Path, _: Options, __: Path) -> RawTable:
    """The rows of all parts, in the order of their names."""
    parts = _parts(raw)
    columns = _common_columns(parts)
    return RawTable(tuple(columns), lambda: _chunks(parts, columns))


def recognises(folder: Path) -> bool:
    """Whether it holds CSV, TSV or Parquet."""
    return any(path.suffix.lower() in SUFFIXES for path in folder.rglob("*"))


def _parts(folder: Path) -> list[Path]:
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES]
    # what begins with a dot or an underscore is another program's: .part-0.csv.crc, _temporary/
    parts = [path for path in found if not any(name[0] in "._" for name in path.relative_to(folder).parts)]
    if not parts:
        raise UserError("ingest.path", f"no {', '.join(SUFFIXES)} file in {folder}", "name the folder of the parts")
    return parts


def _common_columns(parts: list[Path]) -> list[str]:
    first, *others = parts
    columns = column_names(first)
    for part in others:
        here = column_names(part)
        if differing := sorted(set(here) ^ set(columns)):
            name = differing[0]
            what = f"has a column '{name}' that {first.name} has not"
            if name in columns:
                what = f"has no column '{name}', and {first.name} has"
            raise UserError(str(part), what, "give all parts the same columns")
    return columns


def column_names(path: Path) -> list[str]:
    """The names of the columns of one part.

    Raises:
        UserError: it is damaged or no table, or two columns share a name.
    """
    names = _parquet_names(path) if path.suffix.lower() not in DELIMITERS else _csv_names(path)
    names = [name or f"Unnamed: {index}" for index, name in enumerate(names)]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise UserError(str(path), f"has two columns of the name '{name}'", "rename one")
    return names


def _csv_names(path: Path) -> list[str]:
    delimiter = DELIMITERS[path.suffix.lower()]
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            names = next((row for row in csv.reader(stream, delimiter=delimiter, strict=True) if row), None)
    except UnicodeDecodeError:
        raise _no_utf8(path) from None
    except csv.Error:
        raise UserError(
            str(path), "has a quote in its first line that is not closed where its cell ends", "mend it"
        ) from None
    if names is None:
        raise UserError(str(path), "is empty", "export it again")
    wrong = [other for other in ",;\t|" if other in names[0] and len(names) == 1]
    if wrong:
        what = f"has one column, {names[0]!r}: its cells are not divided by {delimiter!r}"
        raise UserError(str(path), what, f"replace {wrong[0]!r}, or export it again")
    return names


def _parquet_names(path: Path) -> list[str]:
    import pyarrow.parquet as pq

    with _parquet_errors(path), pq.ParquetFile(path) as file:
        for field in file.schema_arrow:
            _check_type(path, field)
        return file.schema_arrow.names


def _chunks(parts: list[Path], columns: list[str]) -> Iterator["pd.DataFrame"]:

    rows = 0
    for path in parts:
        for chunk in read_part(path, columns):
            rows += len(chunk)
            yield chunk
    if not rows:
        where = parts[0] if len(parts) == 1 else parts[0].parent
        raise UserError(str(where), "holds the names of columns and no row", "add rows")


def read_part(path: Path, columns: list[str], span: Span | None = None) -> Iterator["pd.DataFrame"]:
    """Some columns of one part, or of a stretch of it, as `RawTable.chunks` has them.

    Raises:
        UserError: it is damaged, or no table.
    """
    import pyarrow as pa

    names, row = column_names(path), span.row if span else 0
    for batch in (_csv_batches if path.suffix.lower() in DELIMITERS else _parquet_batches)(path, span):
        _refuse_nul(path, batch, names, row)
        row += batch.num_rows
        table = pa.Table.from_arrays(batch.columns, names).select(columns)
        yield table.to_pandas()


def _csv_batches(path: Path, span: Span | None) -> Iterator["pa.RecordBatch"]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    refused: list[Any] = []

    def refuse(row: Any) -> str:
        refused.append(row)
        return "error"

    names = _csv_names(path)
    try:
        yield from arrow_csv.open_csv(
            path if span is None else _cut(path, names, span),
            arrow_csv.ReadOptions(use_threads=False, block_size=_BLOCK),
            arrow_csv.ParseOptions(
                delimiter=DELIMITERS[path.suffix.lower()], newlines_in_values=True, invalid_row_handler=refuse
            ),
            arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        if "Empty CSV file" not in str(error):  # a first line and nothing behind it
            raise _csv_error(path, str(error), refused, span.row if span else 0) from None


def _cut(path: Path, names: list[str], span: Span) -> io.BytesIO:
    """The rows of a stretch below the names of the columns."""
    first_line = io.StringIO()
    csv.writer(first_line, delimiter=DELIMITERS[path.suffix.lower()], lineterminator="\n").writerow(names)
    with path.open("rb") as stream:
        stream.seek(span.start)
        return io.BytesIO(first_line.getvalue().encode() + stream.read(span.stop - span.start))


def _csv_error(path: Path, message: str, refused: list[Any], before: int) -> UserError:
    if "UTF8" in message or "codec" in message:
        return _no_utf8(path)
    if "straddling" in message or "out of sync" in message or (refused and "\n" in refused[0].text):
        where = f"row {before + refused[0].number - 1} " if refused else ""
        return UserError(str(path), f"{where}opens a quote that is never closed", "close it, or remove it")
    if refused:
        row = refused[0]
        what = f"row {before + row.number - 1} has {row.actual_columns} cells for {row.expected_columns} columns"
        return UserError(str(path), what, "mend that row; cells that hold the delimiter need quotes")
    return UserError(str(path), f"cannot be read as CSV ({message.splitlines()[0]})", "export it again")


def _no_utf8(path: Path) -> UserError:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                what = f"line {number} is not UTF-8 (byte {line[error.start]:#04x})"
                return UserError(str(path), what, "save it as UTF-8; Latin-1 and others cannot be told apart")
    return UserError(str(path), "is not UTF-8", "save it as UTF-8")


def _parquet_batches(path: Path, span: Span | None) -> Iterator["pa.RecordBatch"]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _parquet_errors(path), pq.ParquetFile(path) as file:
        groups = range(span.start, span.stop) if span else range(file.num_row_groups)
        for batch in file.iter_batches(_BATCH, row_groups=list(groups)):
            texts = [column.cast(pa.string()).fill_null("") for column in batch.columns]
            yield pa.RecordBatch.from_arrays(texts, batch.schema.names)


@contextmanager
def _parquet_errors(path: Path) -> Iterator[None]:
    """Damage that pyarrow finds, as one line."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the machine's; pyarrow's word for damage has none
            raise
        raise UserError(str(path), "is damaged, truncated or no Parquet file", "export it again") from None


def _check_type(path: Path, field: "pa.Field") -> None:
    import pyarrow as pa

    if pa.types.is_nested(field.type) or pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
        what = f"column '{field.name}' is of type {field.type}, a table has one value per cell"
        raise UserError(str(path), what, "leave it out, or turn it into columns of its own")


def _refuse_nul(path: Path, batch: "pa.RecordBatch", names: list[str], start: int) -> None:
    import pyarrow.compute as pc

    for name, column in zip(names, batch.columns, strict=True):
        index = pc.index(pc.match_substring(column, "\0"), value=True).as_py()
        if index >= 0:
            what = f"row {start + index + 1}, column '{name}' holds a NUL byte"
            raise UserError(str(path), what, "the file is damaged or no text, export it again")


def version() -> str:
    """The files speak for themselves."""
    return "table"


SOURCE = Source(
    "a table: CSV, TSV or Parquet, one file or a folder of parts",
    fetch,
    read,
    version,
    needs_path=True,
    recognises=recognises,
)

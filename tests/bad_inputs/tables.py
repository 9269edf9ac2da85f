"""Files of tables that are damaged or ambiguous."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bad_inputs import Case

NAME = "t.csv"


def good(rows: int = 60) -> pd.DataFrame:
    """Rows with nothing wrong in them: `x` and `y` numbers, `city` words, `day` dates, `state` a label."""
    generator = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "x": generator.normal(size=rows).round(3).astype(str),
            "y": generator.integers(0, 100, rows).astype(str),
            "city": generator.choice(["Bern", "Oslo"], rows),
            "day": [f"2026-01-{1 + row % 28:02d}" for row in range(rows)],
            "state": np.where(np.arange(rows) % 10 == 0, "bad", "ok"),
        }
    )


def one_cell(column: str, row: int, content: str) -> Callable[[Path], object]:
    """A good table with one cell changed; rows count from 1."""

    def make(folder: Path) -> None:
        table = good()
        table.loc[row - 1, column] = content
        table.to_csv(folder / NAME, index=False)

    return make


def exactly(content: bytes, name: str = NAME) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def write_good(folder: Path) -> None:
    good().to_csv(folder / NAME, index=False)


def _damaged(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        write_good(folder)
        (folder / NAME).write_bytes(change((folder / NAME).read_bytes()))

    return make


def from_good(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], object]:
    return lambda folder: change(good()).to_csv(folder / NAME, index=False)


def _parts(folder: Path) -> None:
    good().to_csv(folder / "a.csv", index=False)
    good().rename(columns={"y": "z"}).to_csv(folder / "b.csv", index=False)


def _truncated_parquet(folder: Path) -> None:
    good().to_parquet(folder / "t.parquet")
    (folder / "t.parquet").write_bytes((folder / "t.parquet").read_bytes()[:-100])


def _corrupt_parquet(folder: Path) -> None:
    good().to_parquet(folder / "t.parquet")
    content = bytearray((folder / "t.parquet").read_bytes())
    content[4:60] = bytes(56)  # the head of the first page
    (folder / "t.parquet").write_bytes(content)


def _link(folder: Path) -> None:
    outside = folder.parent / "outside.csv"
    good().to_csv(outside, index=False)
    (folder / NAME).symlink_to(outside.resolve())


def case(
    name: str, make: Callable[[Path], object], error: str, prepare: Mapping[str, Any] | None = None, **ingest: Any
) -> Case:
    return Case(f"table: {name}", make, error, {"source": "table", **ingest}, prepare or {})


CASES = [
    case(
        "no such path",
        write_good,
        "ingest.path: data/none.csv is not there; name the table, or the folder of its parts",
        path="data/none.csv",
    ),
    case(
        "other format",
        exactly(b"PK", "t.xlsx"),
        "ingest.path: data/t.xlsx does not end in .csv, .tsv, .parquet; save the table as one of these",
        path="data/t.xlsx",
    ),
    case(
        "no table",
        exactly(b"hello", "readme.txt"),
        "ingest.path: no .csv, .tsv, .parquet file in data; name the folder of the parts",
    ),
    case("empty file", exactly(b""), "data/t.csv: is empty; export it again"),
    case("blank lines", exactly(b"\n\n"), "data/t.csv: is empty; export it again"),
    case("only a header", exactly(b"x,y\n"), "artifacts/ingest/t.csv: holds the names of columns and no row; add rows"),
    case(
        "only a header, unfinished",
        exactly(b"x,y"),
        "artifacts/ingest/t.csv: holds the names of columns and no row; add rows",
    ),
    case(
        "row too long",
        _damaged(lambda b: b + b"1,2,Bern,2026-01-01,ok,6\n"),
        "artifacts/ingest/t.csv: row 61 has 6 cells for 5 columns; mend that row; "
        "cells that hold the delimiter need quotes",
    ),
    case(
        "row too short",
        _damaged(lambda b: b + b"1,2\n"),
        "artifacts/ingest/t.csv: row 61 has 2 cells for 5 columns; mend that row; "
        "cells that hold the delimiter need quotes",
    ),
    case(
        "quote never closed",
        _damaged(lambda b: b.replace(b"Bern", b'"Bern', 1)),
        "artifacts/ingest/t.csv: row 6 opens a quote that is never closed; close it, or remove it",
    ),
    case(
        "quote never closed in a large file",
        _damaged(lambda b: b.replace(b"Bern", b'"Bern', 1) + b"1,2,Oslo,2026-01-01,ok\n" * 200_000),
        "artifacts/ingest/t.csv: row 6 opens a quote that is never closed; close it, or remove it",
    ),
    case(
        "quote never closed in the header",
        exactly(b'x,"y\n1,2\n3,4\n'),
        "data/t.csv: has a quote in its first line that is not closed where its cell ends; mend it",
    ),
    case(
        "semicolons",
        _damaged(lambda b: b.replace(b",", b";")),
        "data/t.csv: has one column, 'x;y;city;day;state': its cells are not divided by ','; "
        "replace ';', or export it again",
    ),
    case(
        "tabs",
        _damaged(lambda b: b.replace(b",", b"\t")),
        "data/t.csv: has one column, 'x\\ty\\tcity\\tday\\tstate': its cells are not divided by ','; "
        "replace '\\t', or export it again",
    ),
    case(
        "commas in a .tsv",
        exactly(b"x,y\n1,2\n3,4\n", "t.tsv"),
        "data/t.tsv: has one column, 'x,y': its cells are not divided by '\\t'; replace ',', or export it again",
    ),
    case(
        "two columns of a name",
        exactly(b"x,y,x\n1,2,3\n4,5,6\n"),
        "data/t.csv: has two columns of the name 'x'; rename one",
    ),
    case(
        "Latin-1",
        _damaged(lambda b: b.replace(b"Oslo", "Malmö".encode("latin-1"), 1)),
        "data/t.csv: line 2 is not UTF-8 (byte 0xf6); save it as UTF-8; Latin-1 and others cannot be told apart",
    ),
    case(
        "Latin-1 header",
        _damaged(lambda b: b.replace(b"city", "stád".encode("latin-1"), 1)),
        "data/t.csv: line 1 is not UTF-8 (byte 0xe1); save it as UTF-8; Latin-1 and others cannot be told apart",
    ),
    case(
        "UTF-16",
        _damaged(lambda b: b.decode().encode("utf-16")),
        "data/t.csv: line 1 is not UTF-8 (byte 0xff); save it as UTF-8; Latin-1 and others cannot be told apart",
    ),
    case(
        "NUL byte",
        one_cell("city", 7, "Be\0rn"),
        "artifacts/ingest/t.csv: row 7, column 'city' holds a NUL byte; "
        "the file is damaged or no text, export it again",
    ),
    case(
        "parts of different columns",
        _parts,
        "data/b.csv: has no column 'y', and a.csv has; give all parts the same columns",
    ),
    case("link out of the folder", _link, "data/t.csv: is a link that leaves data; put the file itself there"),
    case(
        "truncated Parquet",
        _truncated_parquet,
        "data/t.parquet: is damaged, truncated or no Parquet file; export it again",
    ),
    case(
        "corrupt Parquet",
        _corrupt_parquet,
        "artifacts/ingest/t.parquet: is damaged, truncated or no Parquet file; export it again",
    ),
    case(
        "text named .parquet",
        exactly(b"x,y\n1,2\n", "t.parquet"),
        "data/t.parquet: is damaged, truncated or no Parquet file; export it again",
    ),
    case(
        "lists in Parquet",
        lambda f: pd.DataFrame({"x": [[1, 2], [3]]}).to_parquet(f / "t.parquet"),
        "data/t.parquet: column 'x' is of type list<element: int64>, a table has one value per cell; "
        "leave it out, or turn it into columns of its own",
    ),
]

"""Parts of the answer: one Parquet file for each piece of the input, there as a whole or not at all.

A part is written under a temporary name, brought to the disk and renamed, so whatever ends a run, a file that has its
name is complete. What its columns are is the affair of the kind of answer; all begin with `id`.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.bulk.kinds import Columns
from components.bulk.model import Model
from components.bulk.pieces import RECORDS, Batch, Piece, Reader
from components.publishing.listing import digest_rows

LAYOUT = 1
"""Number of the layout of parts; another one is another answer."""
WORD = pa.dictionary(pa.int32(), pa.string())
"""Type of a column that repeats a few words."""
_NOTE = b"hourglass"
_REPEATED = ["p_value", "model_version", "model_digest", "top_contributions.list.element.name"]
"""Columns with few values; a dictionary of the others would cost more than half of the time that writing takes."""


@dataclass(frozen=True)
class Part:
    """A piece that is done."""

    path: Path
    key: str
    """Of what decides it: input, model, layout."""
    records: int
    rejected: dict[str, str]
    """Name of each picture that was left out, then what is wrong with it."""


def key_of(piece: Piece, digest: str, model: Model, id_column: str | None, others: Sequence[Any]) -> str:
    """What makes a part the same: records and their names, model and layout; not where the input lies.

    Args:
        piece: what is scored.
        digest: of its content, from its reader.
        model: what scores it.
        id_column: names the records of a table.
        others: what else decides the columns.
    """
    names = [file.name for file in piece.files]
    decides = [LAYOUT, names, piece.start, piece.stop, piece.row, digest, str(model), model.digest, model.n, id_column]
    decides += others
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()


def read_part(path: Path, key: str) -> Part | None:
    """A part that lies here, or None where it is not whole or belongs to something else."""
    try:
        with pq.ParquetFile(path) as file:
            note = json.loads(file.metadata.metadata[_NOTE])
            return Part(path, key, file.metadata.num_rows, note["rejected"]) if note["key"] == key else None
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError):
        return None


def write_part(
    path: Path, key: str, piece: Piece, reader: Reader, model: Model, columns: Columns, id_column: str | None
) -> Part:
    """Write what is to be said about a piece.

    Raises:
        UserError: a record is not what the model takes; nothing is left.
    """
    rejected: dict[str, str] = {}
    with part_writer(path, columns.schema) as writer:
        held: list[pa.RecordBatch] = []
        records = waiting = 0
        for batch in reader.batches(piece, model, id_column):
            rejected |= batch.rejected
            if not len(batch.ids):
                continue
            held.append(columns.of(batch))
            records, waiting = records + len(batch.ids), waiting + len(batch.ids)
            if waiting >= RECORDS:
                writer.write_table(pa.Table.from_batches(held, columns.schema))
                held, waiting = [], 0
        writer.write_table(pa.Table.from_batches(held, columns.schema))
        writer.add_key_value_metadata({_NOTE: json.dumps({"key": key, "rejected": rejected})})
    columns.piece_done()
    return Part(path, key, records, rejected)


def rewrite_part(part: Part, path: Path, change: Callable[[pa.Table], pa.Table]) -> Part:
    """The same part with some of its values replaced."""
    with pq.ParquetFile(part.path) as file, part_writer(path, file.schema_arrow.remove_metadata()) as writer:
        # group by group, so that what is written twice has the same bytes
        for table in map(file.read_row_group, range(file.num_row_groups)):
            writer.write_table(change(table))
        writer.add_key_value_metadata({_NOTE: json.dumps({"key": part.key, "rejected": part.rejected})})
    return Part(path, part.key, part.records, part.rejected)


def read_columns(part: Part, *names: str) -> Iterator[tuple[np.ndarray, ...]]:
    """Some columns of a part, some rows at a time."""
    with pq.ParquetFile(part.path) as file:
        for batch in file.iter_batches(RECORDS, columns=list(names)):
            yield tuple(batch[name].to_numpy(zero_copy_only=False) for name in names)


@contextmanager
def part_writer(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """A Parquet file that has its name when the block ends well, and is on the disk by then."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as stream:
            with pq.ParquetWriter(stream, schema, compression="zstd", use_dictionary=_REPEATED) as writer:
                yield writer
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Bring a rename to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Origin:
    """The columns that every kind of answer has: `model_version` (NAME/NUMBER), `digest` (of the record, as in a
    version's listing.npy) and `model_digest` (SHA-256 of its graph).
    """

    FIELDS = (
        pa.field("model_version", WORD, nullable=False),
        pa.field("digest", pa.uint64(), nullable=False),
        pa.field("model_digest", WORD, nullable=False),
    )

    def __init__(self, model: Model) -> None:
        self._version, self._digest, self._columns = str(model), model.digest, model.manifest.columns

    def of(self, batch: Batch) -> list[pa.Array]:
        """Of some records, in the order of FIELDS."""
        count = len(batch.ids)
        digests = digest_rows(batch.feed, self._columns) if self._columns else batch.identities[:, 0]
        return [_constant(self._version, count), pa.array(digests), _constant(self._digest, count)]


def lists(values: pa.Array, count: int) -> pa.ListArray:
    """Values (record * wide,) as a list for each of the records."""
    wide = len(values) // count
    return pa.ListArray.from_arrays(pa.array(np.arange(0, len(values) + 1, wide, dtype=np.int32)), values)


def _constant(word: str, count: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), pa.array([word]))

"""Parts of the answer: one Parquet file for each piece of the input, there as a whole or not at all.

A part is written under a temporary name, brought to the disk and renamed, so whatever ends a run, a file that has its
name is complete. Columns: `id`, `score`, `p_value`, `is_anomaly`, `fdr_decision` (null without --fdr),
`top_contributions` (name and contribution of what adds most to the score), `model_version` (NAME/NUMBER), `digest` (of
the record, as in a version's listing.npy) and `model_digest` (SHA-256 of its graph).
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.bulk.graph import Graph, Scored
from components.bulk.model import Model
from components.bulk.pieces import RECORDS, Batch, Piece, Reader
from components.publishing.listing import digest_records, digest_rows

LAYOUT = 1
"""Number of the layout of parts; another one is another answer."""
DECISION = "fdr_decision"
_NOTE = b"hourglass"
_WORD = pa.dictionary(pa.int32(), pa.string())
_REPEATED = ["p_value", "model_version", "model_digest", "top_contributions.list.element.name"]
"""Columns with few values; a dictionary of the others would cost more than half of the time that writing takes."""
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("p_value", pa.float64(), nullable=False),
        pa.field("is_anomaly", pa.bool_(), nullable=False),
        pa.field(DECISION, pa.bool_()),
        pa.field("top_contributions", pa.list_(pa.struct([("name", _WORD), ("contribution", pa.float32())]))),
        pa.field("model_version", _WORD, nullable=False),
        pa.field("digest", pa.uint64(), nullable=False),
        pa.field("model_digest", _WORD, nullable=False),
    ]
)


@dataclass(frozen=True)
class Part:
    """A piece that is done."""

    path: Path
    key: str
    """Of what decides it: input, model, layout."""
    records: int
    rejected: dict[str, str]
    """Name of each picture that was left out, then what is wrong with it."""


def key_of(piece: Piece, digest: str, model: Model, id_column: str | None) -> str:
    """What makes a part the same: records and their names, model and layout; not where the input lies.

    Args:
        piece: what is scored.
        digest: of its content, from its reader.
        model: what scores it.
        id_column: names the records of a table.
    """
    names = [file.name for file in piece.files]
    decides = [LAYOUT, names, piece.start, piece.stop, piece.row, digest, str(model), model.digest, model.n, id_column]
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
    path: Path, key: str, piece: Piece, reader: Reader, model: Model, graph: Graph, id_column: str | None
) -> Part:
    """Score a piece.

    Raises:
        UserError: a record is not what the model takes; nothing is left.
    """
    rejected: dict[str, str] = {}
    words = _Words(model, graph)
    with part_writer(path) as writer:
        held: list[pa.RecordBatch] = []
        records = waiting = 0
        for batch in reader.batches(piece, model, id_column):
            rejected |= batch.rejected
            if not len(batch.ids):
                continue
            held.append(words.rows(batch, graph.score(batch.feed)))
            records, waiting = records + len(batch.ids), waiting + len(batch.ids)
            if waiting >= RECORDS:
                writer.write_table(pa.Table.from_batches(held, SCHEMA))
                held, waiting = [], 0
        writer.write_table(pa.Table.from_batches(held, SCHEMA))
        writer.add_key_value_metadata({_NOTE: json.dumps({"key": key, "rejected": rejected})})
    return Part(path, key, records, rejected)


def rewrite_part(part: Part, path: Path, last: int | None, n: int) -> Part:
    """The same part with decisions about the batch: whether (n + 1) times the p-value is at most `last`."""
    with pq.ParquetFile(part.path) as file, part_writer(path) as writer:
        # group by group, so that what is written twice has the same bytes
        for table in map(file.read_row_group, range(file.num_row_groups)):
            if last is None:
                decided = pa.nulls(len(table), pa.bool_())
            else:
                decided = pa.array(ranks(table["p_value"].to_numpy(), n) <= last)
            at = SCHEMA.get_field_index(DECISION)
            writer.write_table(table.set_column(at, SCHEMA.field(at), decided))
        writer.add_key_value_metadata({_NOTE: json.dumps({"key": part.key, "rejected": part.rejected})})
    return Part(path, part.key, part.records, part.rejected)


def read_columns(part: Part, *names: str) -> Iterator[tuple[np.ndarray, ...]]:
    """Some columns of a part, some rows at a time."""
    with pq.ParquetFile(part.path) as file:
        for batch in file.iter_batches(RECORDS, columns=list(names)):
            yield tuple(batch[name].to_numpy(zero_copy_only=False) for name in names)


def ranks(p_values: np.ndarray, n: int) -> np.ndarray:
    """(n + 1) times each p-value: whole numbers from 1 to n + 1."""
    return np.rint(p_values * (n + 1)).astype(np.int64)


@contextmanager
def part_writer(path: Path) -> Iterator[pq.ParquetWriter]:
    """A Parquet file that has its name when the block ends well, and is on the disk by then."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as stream:
            with pq.ParquetWriter(stream, SCHEMA, compression="zstd", use_dictionary=_REPEATED) as writer:
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


class _Words:
    """The columns that repeat themselves, made once."""

    def __init__(self, model: Model, graph: Graph) -> None:
        self._levels = model.n + 1
        self._names = pa.array(graph.names, pa.string())
        self._version, self._digest, self._columns = str(model), model.digest, model.manifest.columns

    def rows(self, batch: Batch, scored: Scored) -> pa.RecordBatch:
        """What is written about some records."""
        count, wide = scored.top.shape
        parts = pa.StructArray.from_arrays(
            [pa.DictionaryArray.from_arrays(scored.top.ravel(), self._names), pa.array(scored.parts.ravel())],
            fields=list(SCHEMA.field("top_contributions").type.value_type),
        )
        offsets = pa.array(np.arange(0, count * wide + 1, wide, dtype=np.int32))
        columns: list[Any] = [
            pa.array(batch.ids, pa.string()),
            scored.scores,
            scored.ranks / self._levels,
            scored.alarms,
            pa.nulls(count, pa.bool_()),
            pa.ListArray.from_arrays(offsets, parts),
            self._constant(self._version, count),
            digest_rows(batch.feed, self._columns) if self._columns else digest_records(batch.feed["input"]),
            self._constant(self._digest, count),
        ]
        return pa.RecordBatch.from_arrays(
            [pa.array(c) if isinstance(c, np.ndarray) else c for c in columns], schema=SCHEMA
        )

    @staticmethod
    def _constant(word: str, count: int) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), pa.array([word]))

"""Codes: what the encoder inside the graph makes of each record; nothing is decoded and nothing decided.

Columns: `id`, `model_version`, `digest`, `model_digest` and `code` (a list of fixed size, float32).
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.bulk import answer
from components.bulk.kinds import Finishing
from components.bulk.model import Model
from components.bulk.parts import Origin, Part
from components.bulk.pieces import Batch
from components.coding.cache import CODES
from components.coding.encoder import Encoder


@dataclass(frozen=True)
class Codes:
    """See `Kind`."""

    name = "codes"

    @property
    def decides(self) -> list[Any]:
        """See `Kind`."""
        return ["codes"]

    def open(self, model: Model, threads: int) -> "CodeColumns":
        """See `Kind`."""
        return CodeColumns(model, Encoder(model.scorer, str(model), threads, CODES))

    def finish(self, finishing: Finishing) -> dict[str, Any]:
        """Nothing is strange about a code alone."""
        described = answer.describe(finishing.model, finishing.outcome, [], finishing.request.id)
        return answer.write(finishing.folder, finishing.outcome, described, None, as_it_is)

    def summary(self, manifest: dict[str, Any], out: Path) -> list[str]:
        """See `Kind`."""
        del manifest, out
        return []


class CodeColumns:
    """See `Columns`."""

    def __init__(self, model: Model, encoder: Encoder) -> None:
        code = pa.field("code", pa.list_(pa.float32(), encoder.units), nullable=False)
        self.schema = pa.schema([pa.field("id", pa.string(), nullable=False), *Origin.FIELDS, code])
        self._encoder, self._origin = encoder, Origin(model)

    def of(self, batch: Batch) -> pa.RecordBatch:
        """See `Columns`."""
        codes = self._encoder.encode(batch.feed, lambda: batch.identities)
        columns = [
            pa.array(batch.ids, pa.string()),
            *self._origin.of(batch),
            pa.FixedSizeListArray.from_arrays(codes.ravel(), self._encoder.units),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def piece_done(self) -> None:
        """Codes of the piece go into the cache."""
        self._encoder.keep()


def as_it_is(part: Part, path: Path) -> Part:
    """A copy of a part about which nothing is left to decide."""
    shutil.copyfile(part.path, path)
    return replace(part, path=path)

"""Neighbours: the training records whose codes lie nearest to a record's, by exact search, and how far away they are.

Columns: `id`, `model_version`, `digest`, `model_digest`, `neighbours` (train:ROW, the nearest first), `distances` (of
the same, Euclidean) and `mean_distance` (theirs: the score `neighbours` of components/scores, up to a constant).
Training records are the checkout's, if they are those that the version was trained on: a neighbour is worth looking
at, and a version carries no records. Train lies in artifacts/prepare as it was split, so ROW finds it there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.bulk import answer, page
from components.bulk.codes import as_it_is
from components.bulk.kinds import Finishing
from components.bulk.model import Model
from components.bulk.parts import Origin, lists
from components.bulk.pieces import Batch, batch_size
from components.coding.cache import CODES
from components.coding.encoder import Encoder
from components.data.rows import read_rows
from components.data.splits import PREPARED, load_records
from components.runtime.errors import UserError
from components.runtime.outputs import complete_file, sha256

_TRAIN = "train"


@dataclass(frozen=True)
class Neighbours:
    """See `Kind`."""

    k: int
    memory: Path
    """Codes of the training records (record, unit)."""
    trained_on: str
    """Digest of those records."""
    name = "neighbours"

    @property
    def decides(self) -> list[Any]:
        """See `Kind`."""
        return ["neighbours", self.k, self.trained_on]

    def open(self, model: Model, threads: int) -> "NeighbourColumns":
        """See `Kind`."""
        memory = np.load(self.memory, mmap_mode="r", allow_pickle=False)
        return NeighbourColumns(model, Encoder(model.scorer, str(model), threads, CODES), memory, self.k)

    def finish(self, finishing: Finishing) -> dict[str, Any]:
        """Show the records that are farthest from all training records."""
        model, outcome, request = finishing.model, finishing.outcome, finishing.request
        strange = answer.strangest(outcome.placed, "mean_distance", "neighbours", "distances")
        feeds = page.feeds(strange, model, request.id, finishing.work)
        html = page.render(
            [_show(each, feed, model) for each, feed in zip(strange, feeds, strict=True)],
            "Records far from all training records",
            f"Of {sum(each.part.records for each in outcome.placed):,} records the codes of these lie farthest from "
            f"their {self.k} nearest training records, which stand beside them, the nearest first.",
            str(model),
        )
        described = answer.describe(model, outcome, strange, request.id) | {"neighbours": self.k}
        return answer.write(finishing.folder, outcome, described, html, as_it_is)

    def summary(self, manifest: dict[str, Any], out: Path) -> list[str]:
        """See `Kind`."""
        return [answer.told_strangest(manifest, out)]


class NeighbourColumns:
    """See `Columns`.

    Args:
        model: the version.
        encoder: of the version.
        memory: codes of training records (record, unit).
        k: neighbours of each record.
    """

    def __init__(self, model: Model, encoder: Encoder, memory: np.ndarray, k: int) -> None:
        from sklearn.neighbors import NearestNeighbors

        fields = [
            pa.field("neighbours", pa.list_(pa.string()), nullable=False),
            pa.field("distances", pa.list_(pa.float32()), nullable=False),
            pa.field("mean_distance", pa.float32(), nullable=False),
        ]
        self.schema = pa.schema([pa.field("id", pa.string(), nullable=False), *Origin.FIELDS, *fields])
        self._encoder, self._origin, self._memory = encoder, Origin(model), memory
        self._search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(memory)
        self._names = pa.array([f"{_TRAIN}:{row}" for row in range(len(memory))])

    def of(self, batch: Batch) -> pa.RecordBatch:
        """See `Columns`."""
        codes = self._encoder.encode(batch.feed, lambda: batch.identities)
        finite = np.isfinite(codes).all(1)
        if not finite.all():
            raise UserError(batch.ids[int(finite.argmin())], "has no finite code", "leave the record out")
        rows, distances = self._nearest(codes)
        columns = [
            pa.array(batch.ids, pa.string()),
            *self._origin.of(batch),
            lists(self._names.take(pa.array(rows.ravel())), len(rows)),
            lists(pa.array(distances.ravel()), len(rows)),
            pa.array(distances.mean(1)),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def piece_done(self) -> None:
        """Codes of the piece go into the cache."""
        self._encoder.keep()

    def _nearest(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the memory and distances, ascending (record, k) each."""
        rows = self._search.kneighbors(codes, return_distance=False)
        # from differences, which do not cancel: a record that was trained on is at distance 0
        distances = np.sqrt(np.square(self._memory[rows] - codes[:, None]).sum(2))
        order = np.lexsort((rows, distances), axis=1)
        return np.take_along_axis(rows, order, 1), np.take_along_axis(distances, order, 1)


def prepare(model: Model, k: int, threads: int, folder: Path) -> Neighbours:
    """Encode the training records, those of earlier times by the cache, into a file in `folder`.

    Raises:
        UserError: the checkout does not hold the records that the version was trained on, or fewer than k.
    """
    name = f"{_TRAIN}.{'parquet' if model.manifest.columns else 'npy'}"
    path, expected = PREPARED / name, model.manifest.digests.get(name)
    fix = "check out the commit of that version, then `dvc checkout` or `dvc pull`"
    if not path.is_file():
        raise UserError("--neighbours", f"{path} is not here, and the neighbours are looked for among its records", fix)
    if sha256(path) != expected:
        raise UserError("--neighbours", f"{path} is not what {model} was trained on", fix)
    encoder = Encoder(model.scorer, str(model), threads, CODES)
    codes = np.concatenate([encoder.encode(feed) for feed in _training_feeds(model)])
    encoder.keep()
    if len(codes) < k:
        what = f"asks for {k}, and {model} was trained on {len(codes)} records"
        raise UserError("--neighbours", what, "ask for fewer")
    with complete_file(folder / "memory.npy") as temporary, temporary.open("wb") as stream:
        np.save(stream, codes, allow_pickle=False)
    return Neighbours(k, folder / "memory.npy", expected)


def _training_feeds(model: Model) -> Iterator[dict[str, np.ndarray]]:
    size = batch_size(model)
    if model.manifest.columns:
        yield from read_rows(_TRAIN, model.manifest.columns, size=size)
        return
    records = load_records(_TRAIN)
    for start in range(0, len(records), size):
        yield {"input": np.array(records[start : start + size])}


def _show(strange: answer.Strange, feed: dict[str, np.ndarray], model: Model) -> page.Shown:
    distance, neighbours, distances = strange.values
    pictures = []
    if model.manifest.kind == "image":
        train = load_records(_TRAIN)
        near = [(name, page.picture(train[int(name.partition(":")[2])], model)) for name in neighbours]
        pictures = [("record", page.picture(feed["input"][0], model)), *near]
    parts = [(name, f"{away:.3g}") for name, away in zip(neighbours, distances, strict=True)]
    return page.Shown(strange.id, f"mean distance {distance:.4g}", pictures, parts)

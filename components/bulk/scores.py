"""Scores: what the graph says about each record, and two decisions, about the record alone and about the whole batch.

Columns: `id`, `score`, `p_value`, `is_anomaly`, `fdr_decision` (null without --fdr), `top_contributions` (name and
contribution of what adds most to the score), `model_version`, `digest`, `model_digest`; with --with-codes also `code`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.bulk import answer, page
from components.bulk.graph import Graph, Scored
from components.bulk.kinds import Finishing
from components.bulk.model import Model
from components.bulk.parts import WORD, Origin, Part, lists, read_columns, rewrite_part
from components.bulk.pieces import Batch
from components.bulk.running import Placed
from components.scoring.multiple import fewest_discoveries, last_discovery

DECISION = "fdr_decision"
_PART = pa.struct([("name", WORD), ("contribution", pa.float32())])
_FIELDS = (
    pa.field("id", pa.string(), nullable=False),
    pa.field("score", pa.float32(), nullable=False),
    pa.field("p_value", pa.float64(), nullable=False),
    pa.field("is_anomaly", pa.bool_(), nullable=False),
    pa.field(DECISION, pa.bool_()),
    pa.field("top_contributions", pa.list_(_PART)),
    *Origin.FIELDS,
)


@dataclass(frozen=True)
class Scores:
    """See `Kind`."""

    with_codes: bool = False
    name = "scores"

    @property
    def decides(self) -> list[Any]:
        """See `Kind`."""
        return ["code"] if self.with_codes else []

    def open(self, model: Model, threads: int) -> "ScoreColumns":
        """See `Kind`."""
        return ScoreColumns(model, Graph(model, threads, self.with_codes))

    def finish(self, finishing: Finishing) -> dict[str, Any]:
        """Decide about the whole batch."""
        model, outcome, request = finishing.model, finishing.outcome, finishing.request
        counts = count(outcome.placed, model.n)
        last, found = discover(counts, model.n, request.fdr) if request.fdr else (None, None)
        strange = answer.strangest(outcome.placed, "score", "p_value")
        shown = page.show_scored(strange, model, Graph(model, finishing.threads), request.id, finishing.work)
        described = answer.describe(model, outcome, strange, request.id)
        described |= {"records": counts.records, "alarms": counts.alarms, "fdr": asdict(found) if found else None}
        html = page.render(
            shown,
            "Strangest records of a batch",
            f"{counts.records:,} records were scored; these have the largest scores. Beside each stands what the model "
            "makes of it, where it is a picture, and what adds most to its score.",
            str(model),
        )
        return answer.write(finishing.folder, outcome, described, html, _Decided(last, model.n))

    def summary(self, manifest: dict[str, Any], out: Path) -> list[str]:
        """See `Kind`."""
        records, fdr = manifest["records"], manifest["fdr"]
        lines = [f"alarms      {manifest['alarms']:,} ({manifest['alarms'] / records:.2%})"]
        if fdr:
            lines.append(
                f"reported    {fdr['reported']:,} at a false discovery rate of {fdr['q']:g}; with "
                f"{manifest['model']['calibration_n']:,} calibration scores anomalies are found from "
                f"{fdr['smallest_share']:.2%} of a batch on ({fdr['fewest']:,} of {records:,})"
            )
        return [*lines, answer.told_strangest(manifest, out)]


class ScoreColumns:
    """See `Columns`."""

    def __init__(self, model: Model, graph: Graph) -> None:
        code = [pa.field("code", pa.list_(pa.float32(), graph.units), nullable=False)] if graph.units else []
        self.schema = pa.schema([*_FIELDS, *code])
        self._graph, self._levels, self._origin = graph, model.n + 1, Origin(model)
        self._names = pa.array(graph.names, pa.string())

    def of(self, batch: Batch) -> pa.RecordBatch:
        """See `Columns`."""
        scored, count = self._graph.score(batch.feed), len(batch.ids)
        columns: list[Any] = [
            pa.array(batch.ids, pa.string()),
            pa.array(scored.scores),
            pa.array(scored.ranks / self._levels),
            pa.array(scored.alarms),
            pa.nulls(count, pa.bool_()),
            lists(self._parts(scored), count),
            *self._origin.of(batch),
        ]
        if scored.codes is not None:
            columns.append(pa.FixedSizeListArray.from_arrays(scored.codes.ravel(), self._graph.units))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def piece_done(self) -> None:
        """Nothing is kept."""

    def _parts(self, scored: Scored) -> pa.StructArray:
        names = pa.DictionaryArray.from_arrays(scored.top.ravel(), self._names)
        return pa.StructArray.from_arrays([names, pa.array(scored.parts.ravel())], fields=list(_PART))


@dataclass(frozen=True)
class Discoveries:
    """What --fdr found."""

    q: float
    """Of the reported records, on average at most this share is normal."""
    reported: int
    largest_p_value: float
    """That is reported; 0 where none is."""
    fewest: int
    """Anomalies of the smallest p-value that it takes before any is reported."""
    smallest_share: float
    """The same as a share of the batch."""


@dataclass(frozen=True)
class Counts:
    """What the scores come to."""

    records: int
    alarms: int
    ranks: np.ndarray
    """Records by (n + 1) times their p-value (n + 1,)."""


def count(placed: Sequence[Placed], n: int) -> Counts:
    """The first pass over the parts."""
    counted, alarms = np.zeros(n + 1, np.int64), 0
    for each in placed:
        for p_values, alarmed in read_columns(each.part, "p_value", "is_anomaly"):
            counted += np.bincount(ranks(p_values, n) - 1, minlength=n + 1)
            alarms += int(alarmed.sum())
    return Counts(int(counted.sum()), alarms, counted)


def discover(counts: Counts, n: int, q: float) -> tuple[int, Discoveries]:
    """The last (n + 1)th that is reported, and what it means."""
    last = last_discovery(counts.ranks, q)
    reported = int(counts.ranks[:last].sum())
    fewest = fewest_discoveries(counts.records, n, q)
    return last, Discoveries(q, reported, last / (n + 1), fewest, 1 / (q * (n + 1)))


def ranks(p_values: np.ndarray, n: int) -> np.ndarray:
    """(n + 1) times each p-value: whole numbers from 1 to n + 1."""
    return np.rint(p_values * (n + 1)).astype(np.int64)


@dataclass(frozen=True)
class _Decided:
    """The second pass: the same part, in the answer, with decisions about the batch."""

    last: int | None
    n: int

    def __call__(self, part: Part, path: Path) -> Part:
        return rewrite_part(part, path, self._decide)

    def _decide(self, table: pa.Table) -> pa.Table:
        if self.last is None:
            decided = pa.nulls(len(table), pa.bool_())
        else:
            decided = pa.array(ranks(table["p_value"].to_numpy(), self.n) <= self.last)
        at = table.schema.get_field_index(DECISION)
        return table.set_column(at, table.schema.field(at), decided)

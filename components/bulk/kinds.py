"""Kinds of answer: what is written about a record, and what is said about the whole batch in the end.

scores    by the graph, with decisions (components.bulk.scores)
codes     by the encoder inside the graph (components.bulk.codes)
neighbours    nearest training records by code (components.bulk.neighbours)
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from components.bulk.model import Model
from components.bulk.options import Request
from components.bulk.pieces import Batch

if TYPE_CHECKING:
    import pyarrow as pa

    from components.bulk.running import Outcome


class Columns(Protocol):
    """A kind at work in one process."""

    schema: "pa.Schema"

    def of(self, batch: Batch) -> "pa.RecordBatch":
        """What is written about some records, at least one."""

    def piece_done(self) -> None:
        """All records of a piece are written."""


@dataclass(frozen=True)
class Finishing:
    """What a kind has at hand when every piece is done."""

    model: Model
    request: Request
    threads: int
    outcome: "Outcome"
    work: Path
    """For what is needed on the way."""
    folder: Path
    """Empty, for the files of the answer."""


class Kind(Protocol):
    """One kind of answer; it travels to other processes as it is."""

    name: str
    """Of the folder that answers lie in by default."""

    @property
    def decides(self) -> list[Any]:
        """What else makes a part the same, beside the input and the model; JSON."""

    def open(self, model: Model, threads: int) -> Columns:
        """Begin, in the process that is to work.

        Raises:
            UserError: the version has not what it takes.
        """

    def finish(self, finishing: Finishing) -> dict[str, Any]:
        """Write the answer, manifest.json included, and return what that holds."""

    def summary(self, manifest: dict[str, Any], out: Path) -> list[str]:
        """What a person reads about an answer in `out`."""

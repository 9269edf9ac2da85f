"""What came of a fault, and the table of all of them."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

EQUAL = "as undisturbed"
"""How a run continues that comes to the same dvc.lock, the same files and one version, as if nothing had happened."""


@dataclass(frozen=True, order=True)
class Result:
    """One fault that was provoked."""

    fault: str
    where: str
    """The stage or step that it hit."""
    ended: str
    """How the run ended, without what differs from time to time."""
    continued: str
    """What the run after it came to: EQUAL, or what is wrong."""

    @property
    def is_well(self) -> bool:
        """Whether nothing was lost, doubled or spoiled."""
        return self.continued == EQUAL


def remember(file: Path, commit: str, results: Iterable[Result]) -> None:
    """Add results, and the commit that they are of, to those of earlier batches."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", buffering=1) as stream:
        for result in results:
            stream.write(json.dumps([commit, dataclasses.asdict(result)]) + "\n")


def recall(file: Path) -> list[tuple[str, Result]]:
    """The results of all batches, each behind its commit."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [(commit, Result(**fields)) for commit, fields in map(json.loads, lines)]


def table(results: Iterable[Result]) -> str:
    """Markdown: a row for each way in which a fault went, with how often it did."""
    rows = ["| fault | where | times | how it ended | how it continued |", "| --- | --- | ---: | --- | --- |"]
    for result, times in sorted(Counter(results).items()):
        cells = (result.fault, result.where, str(times), result.ended, result.continued)
        rows.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(rows)

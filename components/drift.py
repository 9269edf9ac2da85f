"""Act `drift`: look at newly scored records, and say whether they still are what a version was calibrated on.

In:   a folder of scored parts (part-*.parquet); optionally a folder of the raw rows of a table behind them; the
      reference of a registered version; .monitoring/NAME/VERSION/memory.safetensors
Out:  .monitoring/NAME/VERSION/ (memory.safetensors; report/ with monitoring.html, findings.json, gallery.csv, *.svg),
      .monitoring/latest.json; in MLflow a run "monitoring of version N"
Run:  python -m components.drift FOLDER [--rows FOLDER] [--version N]     (the champion where none is named)

No stage: time decides when it runs. A part is counted once, however often one looks; interrupted, nothing was counted.
"""

import argparse
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.drifting import MONITORING
from components.params import load_globals, load_section
from components.params.drift import Params
from components.runtime.errors import UserError, run_main
from components.runtime.outputs import complete_dir, complete_file, write_json
from components.runtime.process import die_with_parent, set_threads

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from components.drifting.checks import Findings
    from components.drifting.columns import TableState
    from components.drifting.memory import Memory
    from components.drifting.reference import Reference
    from components.publishing.store import Store

LATEST = MONITORING / "latest.json"
MEMORY = "memory.safetensors"


@dataclass(frozen=True)
class Request:
    """What to look at."""

    scored: Path
    rows: Path | None = None
    version: str | None = None
    """Of the registered model; the champion's where it is None."""


@dataclass(frozen=True)
class Look:
    """What one look came to."""

    name: str
    version: str
    records: int
    """Of the stream so far."""
    new_records: int
    set_aside: list[str]
    """New parts that another version scored: not counted."""
    alarms: list[str]
    findings: list[dict[str, Any]]
    report: str
    cool_down_hours: float

    def __str__(self) -> str:
        counted = f"{self.name} version {self.version}: {self.new_records:,} new records, {self.records:,} in all"
        words = {"ok": "ok", "warning": "warning", "problem": "ALARM", "not_applicable": "-"}
        lines = [f"{words[f['verdict']]:<8}{f['title']}: {f['text']}" for f in self.findings]
        aside = [f"set aside, of another version: {', '.join(self.set_aside)}"] if self.set_aside else []
        return "\n".join([counted, *aside, *lines, f"report: {self.report}"])


def look(request: Request, name: str, params: Params, seed: int, now: datetime | None = None) -> Look:
    """Look at what is new, write down what was found, and remember it.

    Args:
        request: what to look at.
        name: of the registered model.
        params: limits and sizes.
        seed: of ties, resamples and permutations.
        now: time of the look; the clock's where it is None.

    Raises:
        UserError: no such folder or version, something in them cannot be read, or the store is away.
    """
    from components.drifting.checks import look_at
    from components.drifting.memory import absorb, load, save, with_look, write_gallery
    from components.drifting.page import Subject, render
    from components.drifting.parts import new_parts
    from components.drifting.reference import load_reference
    from components.publishing.monitoring import log_look
    from components.publishing.store import open_store

    with _one_at_a_time(), open_store(name) as store:
        version = _find_version(store, request.version)
        reference = load_reference(store, str(version.version))
        home, at = MONITORING / name / str(version.version), now or datetime.now(UTC)
        before = load(home / MEMORY, version.run_id, reference.calibration)
        memory, table = _read_rows(before, request.rows, reference, params)
        for part in new_parts(request.scored, frozenset(memory.parts)):
            memory = absorb(memory, part, reference.calibration, params, seed)
        findings = look_at(memory, reference, table, params, seed)
        found = _sum_up(name, version, before, memory, findings, home, params)
        if found.new_records:
            memory = with_look(memory, at, findings["alarm_rate"])
        with complete_dir(home / "report") as folder:
            write_json(folder / "findings.json", found.findings)
            write_gallery(memory.gallery, folder / "gallery.csv")
            subject = Subject(name, found.version, at, found.new_records, found.set_aside)
            (folder / "monitoring.html").write_text(render(subject, memory, reference, findings, params, folder))
            # MLflow comes before the memory: what it does not take now is looked at again
            log_look(store, version, findings.checks, memory.stream.wealth, folder)
        save(memory, home / MEMORY, version.run_id)
        with complete_file(LATEST) as temporary:
            write_json(temporary, asdict(found))
    return found


def _find_version(store: "Store", wanted: str | None) -> "ModelVersion":
    from components.publishing.promotion import find_champion

    number = wanted or find_champion(store)
    if number is None:
        what = f"'{store.name}' has no champion to monitor"
        raise UserError("register.name", what, "register one with `make run`, or name a version with --version")
    found = store.client.search_model_versions(f"name = '{store.name}'")
    versions = {str(version.version): version for version in found}
    if number not in versions:
        known = ", ".join(versions) or "none"
        raise UserError("--version", f"'{store.name}' has no version {number}", f"known: {known}")
    return versions[number]


def _read_rows(
    memory: "Memory", folder: Path | None, reference: "Reference", params: Params
) -> "tuple[Memory, TableState | None]":
    """The memory with the names of new files of raw rows, and those rows against the reference."""
    if folder is None or not reference.columns:
        return memory, None
    import pandas as pd

    from components.drifting.columns import compare, read_cells
    from components.sources.table import SUFFIXES

    if not folder.is_dir():
        raise UserError(str(folder), "is not there", "name the folder of the raw rows")
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    new = [name for name, path in files.items() if path.suffix.lower() in SUFFIXES and name not in memory.rows]
    # a column that one file lacks is gone
    rows = pd.concat([read_cells(files[name]) for name in new], join="inner") if new else pd.DataFrame()
    memory = replace(memory, rows=(*memory.rows, *new))
    return memory, compare(reference.columns, reference.missing, rows, params.confidence) if len(rows) else None


def _sum_up(
    name: str, version: "ModelVersion", before: "Memory", memory: "Memory", findings: "Findings", home: Path,
    params: Params,
) -> Look:  # fmt: skip
    records = memory.stream.wealth.records
    return Look(
        name,
        str(version.version),
        records,
        records - before.stream.wealth.records,
        list(memory.set_aside[len(before.set_aside) :]),
        findings.alarms,
        [finding.to_json() for finding in findings.checks],
        str(home / "report" / "monitoring.html"),
        params.cool_down_hours,
    )


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Wait for another look: both would count the same parts."""
    MONITORING.mkdir(exist_ok=True)
    with (MONITORING / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Look, and tell."""
    die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m components.drift", description="Look at newly scored records.")
    parser.add_argument("scored", type=Path, metavar="FOLDER", help="where scoring writes its parts")
    parser.add_argument("--rows", type=Path, metavar="FOLDER", help="raw rows of a table: CSV, TSV or Parquet")
    parser.add_argument("--version", metavar="N", help="of the registered model (its champion)")
    request = Request(**vars(parser.parse_args()))
    numbers = load_globals()
    set_threads(numbers.threads)
    print(look(request, load_section("register").name, load_section("drift"), numbers.seed))


if __name__ == "__main__":
    run_main(main)

"""What earlier syncs brought: the version of each file, so that the source need not send it again.

A journal of one JSON line per file, written as files arrive: a sync that breaks off continues where it stopped. It lies
in `.work/`, not beside the data: the artifact depends on content alone, and without a memory everything is fetched.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TypedDict

from components.runtime.outputs import complete_file
from components.sources import RawFile


class Entry(TypedDict):
    """A file as listing.json names it."""

    size: int
    sha256: str


class Memory:
    """The journal at `path`; may be used by several threads."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, Lock()
        self._known: dict[str, tuple[str, Entry]] = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                name, version, entry = json.loads(line)
            except ValueError:
                continue  # the last line of a process that was killed, or an empty one
            self._known[name] = version, entry

    def recall(self, file: RawFile) -> Entry | None:
        """What the file held when it had the version that it has now; None where that is not known."""
        version, entry = self._known.get(file.name, (None, None))
        return entry if file.version is not None and file.version == version else None

    def keep(self, file: RawFile, entry: Entry) -> None:
        """Remember a file that has arrived."""
        if file.version is None:
            return
        with self._lock:
            self._known[file.name] = file.version, entry
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as journal:
                # the line feed comes first: it also ends what a killed process left unfinished
                journal.write(f"\n{json.dumps([file.name, file.version, entry])}")

    def tidy(self, files: Sequence[RawFile]) -> None:
        """Forget every file but these."""
        kept = [(file.name, *self._known[file.name]) for file in files if file.name in self._known]
        if kept or self._path.exists():
            with complete_file(self._path) as temporary:
                temporary.write_text("\n".join(map(json.dumps, kept)))

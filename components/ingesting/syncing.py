"""Make a folder hold what a source has: fetch what is new or has changed, leave the rest alone, remove what is gone."""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from threading import Event

from components.ingesting.memory import Entry, Memory
from components.runtime.errors import UserError
from components.runtime.outputs import WORK, sha256
from components.runtime.progress import progress
from components.sources import RawFile

THREADS = 8  # files that are fetched at once: they wait for a server or a disk, not for the CPU
_LONGEST = 255  # bytes in one part of a name, on every file system that we know


def check_names(files: Sequence[RawFile], reserved: Sequence[str]) -> None:
    """Refuse names that would leave the folder, or that cannot stand beside each other.

    Raises:
        UserError: a name is no plain relative path, is one of `reserved`, or is also the folder of another file.
    """
    names = {file.name for file in files}.union(reserved)
    for file in files:
        parts = file.name.split("/")
        if any(part in ("", ".", "..") or "\0" in part or len(part.encode()) > _LONGEST for part in parts):
            raise UserError("ingest.path", f"{file.name!r} would be no file below artifacts/ingest", "rename it")
        if file.name in reserved:
            raise UserError("ingest.path", f"{file.name!r} is the name of a file of ingest's own", "rename it")
        for folder in PurePosixPath(file.name).parents:
            if folder.as_posix() in names:
                raise UserError("ingest.path", f"{folder} is a file and also the folder of {file.name}", "rename one")


def remove_others(out: Path, names: Sequence[str]) -> None:
    """Remove every file below `out` but the named ones, and folders that it leaves empty."""
    kept = {out / name for name in names}
    removed = 0
    for path in sorted(out.rglob("*"), reverse=True):  # what lies in a folder comes before the folder
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in kept:
            path.unlink()
            removed += 1
    if removed:
        print(f"removed {removed:,} files that the source no longer has", file=sys.stderr)


def sync(files: Sequence[RawFile], out: Path, stop: Event) -> Mapping[str, Entry]:
    """Bring every file to `out`, several at a time; the first error calls off the rest and sets `stop`.

    A file that is here in the version that the source has is not fetched. One that is fetched with the content that is
    here leaves the file alone, so that DVC's link to its cache survives.

    Raises:
        UserError: a file cannot be fetched.
    """
    memory = Memory(WORK / "ingest" / "versions.jsonl")
    meter = progress(len(files), "syncing", "synced", "files")
    with _scratch() as scratch, ThreadPoolExecutor(THREADS) as pool, meter as shown:
        jobs = [
            (file, out / file.name, scratch / f"{number}{PurePosixPath(file.name).suffix}", memory)
            for number, file in enumerate(files)
        ]
        try:
            work = [pool.submit(_bring, *job) for job in jobs]
            for done in as_completed(work):
                done.result()
                shown.advance()
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    memory.tidy(files)
    brought = [future.result() for future in work]
    fetched = sum(is_new for _, is_new in brought)
    print(f"fetched {fetched:,} files, {len(files) - fetched:,} were here already", file=sys.stderr)
    return {file.name: entry for file, (entry, _) in zip(files, brought, strict=True)}


def _bring(file: RawFile, target: Path, temporary: Path, memory: Memory) -> tuple[Entry, bool]:
    """What the file holds, and whether it had to be fetched."""
    known = memory.recall(file)
    if known and _holds(target, known):
        return known, False
    file.save(temporary)
    entry = Entry(size=temporary.stat().st_size, sha256=sha256(temporary))
    if _holds(target, entry):
        temporary.unlink()
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(target)
    memory.keep(file, entry)
    return entry, True


def _holds(path: Path, entry: Entry) -> bool:
    return path.is_file() and path.stat().st_size == entry["size"] and sha256(path) == entry["sha256"]


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for files that are on their way; what is left in it when a sync breaks off goes with it."""
    (WORK / "tmp").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ingest-", dir=WORK / "tmp") as folder:
        yield Path(folder)

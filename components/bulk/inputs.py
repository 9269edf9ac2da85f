"""Where records lie: a file, a folder at any depth, or a prefix in S3, whose objects are here only while they are read.

The end of a name says its format. Names that begin with a dot or an underscore are another program's, as `_SUCCESS`;
files of no known format are left alone, and so are those of a format that cannot hold what the model takes.
"""

import itertools
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from components.bulk import arrays, pictures, tables
from components.bulk.model import Model
from components.bulk.pieces import File, Piece, Reader
from components.runtime.errors import UserError
from components.sources import RawFile, Request, find, refuse_escape

READERS: dict[str, Reader] = {"arrays": arrays, "pictures": pictures, "tables": tables}
PICTURES = 1024
"""Pictures that are one input."""
_CONNECTIONS = 16


@dataclass(frozen=True)
class Input:
    """Files that are read at once: one, or a row of pictures."""

    names: tuple[str, ...]
    reader: str
    """A key of READERS."""
    remote: tuple[RawFile, ...] = ()
    """How to bring them here, where they lie in S3."""
    folder: Path | None = None
    """Where they lie, if here."""

    @property
    def shown(self) -> str:
        """How people read it."""
        return self.names[0] if len(self.names) == 1 else f"{self.names[0]} to {self.names[-1]}"

    @contextmanager
    def here(self, model: Model, work: Path) -> Iterator[list[Piece]]:
        """Its pieces, whose files lie on this machine until the block ends.

        Raises:
            UserError: a file cannot be brought or read, or does not hold what the model takes.
        """
        with tempfile.TemporaryDirectory(prefix="input-", dir=work) as folder:
            scratch = Path(folder)
            files = self._bring(scratch) if self.remote else [File(name, self.folder / name) for name in self.names]
            with named(files):
                yield list(READERS[self.reader].pieces(files, model, scratch))

    def _bring(self, scratch: Path) -> list[File]:
        # numbered, because a key may be no name of a file
        files = [File(n, scratch / f"{i}{PurePosixPath(n).suffix.lower()}") for i, n in enumerate(self.names)]
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            list(pool.map(lambda raw, file: raw.save(file.path), self.remote, files))
        return files


@contextmanager
def named(files: Sequence[File]) -> Iterator[None]:
    """Errors inside speak of the files as the user knows them, not of where they lie for now."""
    try:
        yield
    except UserError as error:
        texts = [error.where, error.what, error.fix]
        for file in files:
            texts = [text.replace(str(file.path), file.name) for text in texts]
        raise UserError(*texts) from None


def find_inputs(source: str, model: Model) -> list[Input]:
    """What is to be read, in the order of the names.

    Args:
        source: a path, or s3://BUCKET/PREFIX.
        model: what is to take it.

    Raises:
        UserError: there is nothing there, or nothing that the model takes.
    """
    if source.startswith("s3://"):
        remote = {file.name or source.rpartition("/")[2]: file for file in find("s3").fetch(Request(None, source))}
        return _inputs(source, list(remote), model, partial(_of_bucket, remote))
    place = Path(source)
    if place.is_file():
        return _inputs(source, [place.name], model, partial(_of_folder, place.parent))
    if not place.is_dir():
        raise UserError(source, "is not there", "name a file, a folder or s3://BUCKET/PREFIX")
    names = [path.relative_to(place).as_posix() for path in sorted(place.rglob("*")) if not path.is_dir()]
    return _inputs(source, names, model, partial(_of_folder, place))


def _of_bucket(remote: dict[str, RawFile], names: tuple[str, ...], reader: str) -> Input:
    return Input(names, reader, remote=tuple(remote[name] for name in names))


def _of_folder(folder: Path, names: tuple[str, ...], reader: str) -> Input:
    for name in names:
        refuse_escape(folder / name, folder)
    return Input(names, reader, folder=folder)


def _inputs(source: str, names: Sequence[str], model: Model, make: "partial[Input]") -> list[Input]:
    known = sorted((name, reader) for name in names if (reader := _reader_of(name)))
    taken = [(name, reader) for name, reader in known if READERS[reader].takes(model)]
    if not taken:
        suffixes = [suffix for reader in READERS.values() if reader.takes(model) for suffix in reader.SUFFIXES]
        what = f"holds {known[0][0]}, and {model} takes {model.takes}" if known else "holds no file of a known format"
        raise UserError(source, what, f"expected files that end in {', '.join(suffixes)}")
    found = []
    for reader, group in itertools.groupby(taken, lambda each: each[1]):
        at_once = PICTURES if reader == "pictures" else 1
        group_names = [name for name, _ in group]
        starts = range(0, len(group_names), at_once)
        found += [make(tuple(group_names[start : start + at_once]), reader) for start in starts]
    return found


def _reader_of(name: str) -> str | None:
    path = PurePosixPath(name)
    if any(part[0] in "._" for part in path.parts):
        return None
    suffix = path.suffix.lower()
    return next((key for key, reader in READERS.items() if suffix in reader.SUFFIXES), None)


def clear(work: Path) -> None:
    """Remove what a run that was killed left of its inputs."""
    for folder in work.glob("input-*"):
        shutil.rmtree(folder, ignore_errors=True)

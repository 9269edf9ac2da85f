"""Where raw data comes from: one source is one file of this folder, found by its name.

A file defines `SOURCE`. `fetch` brings raw files as found (the stage ingest), `read` understands them (the stage
prepare); nothing else knows a source's format.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Literal

import numpy as np

from components.params import unknown
from components.runtime.errors import UserError
from components.runtime.registry import Registry

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["image", "array", "table"]


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    dataset: str | None
    """The part of `ingest.source` behind the colon."""
    path: str | None
    """`ingest.path` as written: a path, or an address like s3://bucket/prefix."""
    stop: Event = field(default_factory=Event, compare=False)
    """Set when a sync is called off; a save that takes long looks at it and raises CancelledError."""

    @property
    def folder(self) -> Path:
        """The path as a folder that is there.

        Raises:
            UserError: it is missing, or no folder.
        """
        folder = Path(self.path or "")
        if self.path is None or not folder.is_dir():
            raise UserError("ingest.path", f"{self.path} is no folder", "name the folder that holds the data")
        return folder


@dataclass(frozen=True)
class RawFile:
    """One raw file: its name relative to artifacts/ingest/ and how to write it."""

    name: str
    save: Callable[[Path], object]
    version: str | None = None
    """What the source says about the content without sending it (an ETag); a file whose version is known is kept."""


@dataclass(frozen=True)
class Options:
    """How raw files are to be read; `ingest:` names them, listing.json carries them to prepare."""

    image_size: tuple[int, int] | None = None
    """(height, width) that every image is brought to."""
    channels: Literal["auto", "grey", "rgb"] = "auto"
    """What every image is brought to; auto takes them as they are and refuses a mixture."""
    max_bad_fraction: float = 0.0
    """Share of files that may be corrupt: they are listed and left out."""


@dataclass(frozen=True)
class Part:
    """Records that belong together, as the source deals them.

    Shapes: records (record, *item) uint8 or float32, possibly memory-mapped; labels (record,) indices into classes.
    """

    split: Literal["train", "test"] | None
    """The source's own split; None where it has none."""
    records: np.ndarray
    labels: np.ndarray | None


@dataclass(frozen=True)
class RawData:
    """Images or arrays, understood."""

    kind: Literal["image", "array"]
    classes: tuple[str, ...]
    """Names of the classes, empty without labels."""
    value_range: tuple[float, float] | None
    """Smallest and largest value that an image may hold; None for arrays."""
    parts: tuple[Part, ...]
    normal_classes: tuple[str, ...] | None = None
    """What the source itself calls normal; None where every class is."""
    rejected: Mapping[str, str] = field(default_factory=dict)
    """Name of each corrupt file that was left out, then what is wrong with it."""


@dataclass(frozen=True)
class RawTable:
    """A table, understood as far as its columns' names go; what they hold is for prepare to find out."""

    columns: tuple[str, ...]
    chunks: Callable[[], "Iterator[pd.DataFrame]"]
    """Its rows from the first to the last, some thousand at a time, every cell a string as written, '' where empty."""


@dataclass(frozen=True)
class Source:
    """One row of the registry of sources."""

    description: str
    fetch: Callable[[Request], Iterator[RawFile]]
    """Raises UserError when the data is missing, unreadable or not of this source's format."""
    read: Callable[[Path, Options, Path], RawData | RawTable]
    """(artifacts/ingest/, options, scratch): scratch is an empty folder for what must be unpacked to be mapped, and
    goes away when prepare ends. Raises UserError when a file is damaged or mislabelled."""
    version: Callable[[], str]
    """What made the raw files, e.g. the library that embeds them."""
    needs_path: bool = False
    datasets: tuple[str, ...] = ()
    """Names allowed behind the colon; empty where the source is a single data set."""
    recognises: Callable[[Path], bool] = lambda folder: False  # noqa: ARG005
    """Whether a folder holds this source's kind of files; asked where the user names a place and no format (s3)."""


def refuse_escape(path: Path, folder: Path) -> None:
    """Check that a file found in a folder lies in it, whatever links are on the way.

    Raises:
        UserError: it is a link that leaves the folder, or is no file.
    """
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(str(path), f"is a link that leaves {folder}", "put the file itself there")
    if not path.is_file():
        raise UserError(str(path), "is no file (a link to a folder or to nothing)", "put the files themselves there")


_REGISTRY = Registry(__name__, "SOURCE", "source")


def known() -> list[str]:
    """Names of all sources, from the listing of this folder."""
    return _REGISTRY.known()


def find(source: str) -> Source:
    """The registry entry for `ingest.source` (with or without `:NAME`); imports that source's file only."""
    name = source.partition(":")[0]
    return _REGISTRY.find(name, "ingest.source")


def check(source: str, path: str | None) -> None:
    """Check `ingest.source` and `ingest.path` without touching data.

    Raises:
        UserError: unknown source or data set, or a path that is missing in params.
    """
    entry = find(source)
    _, colon, dataset = source.partition(":")
    if entry.datasets and dataset not in entry.datasets:
        raise unknown("ingest.source", f"data set of {source.partition(':')[0]}", dataset, entry.datasets)
    if colon and not entry.datasets:
        raise UserError("ingest.source", f"'{source}' takes no name behind a colon", f"write {source.split(':')[0]}")
    if entry.needs_path and path is None:
        raise UserError("ingest.path", f"is missing, source '{source}' reads a folder", "set ingest.path to it")

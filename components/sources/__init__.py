"""Where raw data comes from: one source is one file of this folder, found by its name.

A file defines `SOURCE`. `fetch` brings raw files as found (the stage ingest), `read` understands them (the stage
prepare); nothing else knows a source's format.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from components.params import unknown
from components.runtime.errors import UserError

Kind = Literal["image", "array"]


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    dataset: str | None
    """The part of `ingest.source` behind the colon."""
    path: Path | None
    """`ingest.path`."""


@dataclass(frozen=True)
class RawFile:
    """One raw file: its name relative to artifacts/ingest/ and how to write it."""

    name: str
    save: Callable[[Path], object]


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
    """Raw data, understood."""

    kind: Kind
    classes: tuple[str, ...]
    """Names of the classes, empty without labels."""
    value_range: tuple[float, float] | None
    """Smallest and largest value that an image may hold; None for arrays."""
    parts: tuple[Part, ...]
    normal_classes: tuple[str, ...] | None = None
    """What the source itself calls normal; None where every class is."""


@dataclass(frozen=True)
class Source:
    """One row of the registry of sources."""

    description: str
    fetch: Callable[[Request], Iterator[RawFile]]
    """Raises UserError when the data is missing, unreadable or not of this source's format."""
    read: Callable[[Path], RawData]
    """Reads artifacts/ingest/; raises UserError when a file is damaged or mislabelled."""
    version: Callable[[], str]
    """What made the raw files, e.g. the library that embeds them."""
    needs_path: bool = False
    datasets: tuple[str, ...] = ()
    """Names allowed behind the colon; empty where the source is a single data set."""


def known() -> list[str]:
    """Names of all sources, from the listing of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def find(source: str) -> Source:
    """The registry entry for `ingest.source` (with or without `:NAME`); imports that source's file only."""
    name = source.partition(":")[0]
    if name not in known():
        raise unknown("ingest.source", "source", name, known())
    return importlib.import_module(f"{__name__}.{name}").SOURCE


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

"""A corpus of what users hand in by mistake: one module per kind of source, one case per mistake.

A module defines `CASES`. `tests/test_bad_inputs.py` runs every case of every module and compares the whole line.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Case:
    """One mistake."""

    name: str
    make: Callable[[Path], object]
    """Lays the bad data into an empty folder."""
    error: str
    """The whole message `WHERE: WHAT; FIX`; the folder is `data` in an otherwise empty checkout."""
    ingest: Mapping[str, Any]
    """The section `ingest:` without its path."""
    prepare: Mapping[str, Any] = field(default_factory=dict)
    """The section `prepare:`."""


def all_cases() -> list[Case]:
    """The cases of every module of this folder."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    return [case for module in modules for case in module.CASES]

"""Folders in which every file is one thing to choose from: adding a file adds it, and touches no other."""

import importlib
import pkgutil
from dataclasses import dataclass
from typing import Any

from components.params import unknown


@dataclass(frozen=True)
class Registry:
    """The entries of one folder."""

    package: str
    """Its dotted name."""
    attribute: str
    """What each file calls its entry."""
    kind: str
    """What an entry is, in messages."""
    apart: frozenset[str] = frozenset()
    """Files of the folder that are no entries."""

    def known(self) -> list[str]:
        """Names of all entries, from the listing of the folder."""
        folder = importlib.import_module(self.package).__path__
        return sorted(module.name for module in pkgutil.iter_modules(folder) if module.name not in self.apart)

    def find(self, name: Any, where: str) -> Any:
        """An entry; imports its file only.

        Raises:
            UserError: no such entry, at `where` in params.yaml; names the nearest one.
        """
        known = self.known()
        if name not in known:
            raise unknown(where, self.kind, str(name), known)
        return getattr(importlib.import_module(f"{self.package}.{name}"), self.attribute)

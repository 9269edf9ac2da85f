"""Simple methods that a model should beat: one file each, found by its name, all fitted by scikit-learn.

A method sees scaled training records as rows of numbers, all normal, and is then asked how strange other records are.
Importing a method's file costs nothing: scikit-learn is imported where it is fitted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from components.params import Options, validate
from components.runtime.registry import Registry

if TYPE_CHECKING:
    from sklearn.decomposition import PCA


class BaselineParams(Options):
    """What a user may set; a method of its own adds fields with docstrings."""

    records: int = Field(20_000, ge=2, le=1_000_000)
    """Training records fitted to, a random subset where there are more."""


class Fitted:
    """A fitted method. Shapes: x (record, value) float64, scaled."""

    meaning: str
    """What a score is, in a few words."""

    def score(self, x: np.ndarray) -> np.ndarray:
        """How strange each record is, higher is stranger (record,)."""
        raise NotImplementedError

    def reconstruct(self, x: np.ndarray) -> np.ndarray | None:
        """The reconstructions (record, value); None for a method that makes none."""
        del x
        return None


@dataclass(frozen=True)
class BaselineEntry:
    """One row of the registry."""

    fit: Callable[[Any, np.ndarray, int], Fitted]
    """(params, scaled training records (record, value) float64, seed); raises ValueError where they do not suffice."""
    params: type[BaselineParams]
    description: str


_REGISTRY = Registry(__name__, "BASELINE", "method")


def known() -> list[str]:
    """Names of all methods, from the listing of this folder."""
    return _REGISTRY.known()


def find(name: Any, where: str = "method") -> BaselineEntry:
    """The registry entry of a method; imports its file only.

    Raises:
        UserError: no such method; names the nearest one.
    """
    return _REGISTRY.find(name, where)


def resolve(name: Any, given: Mapping[str, Any], where: str) -> BaselineParams:
    """The params of a method, defaults filled in.

    Raises:
        UserError: an unknown method or key, or a value out of its range.
    """
    return validate(find(name, f"{where}.method").params, dict(given), where)


def is_share_or_count(value: float) -> float:
    """Validator of a number of components: a share of the variance below 1, or a whole number."""
    if value >= 1 and not value.is_integer():
        raise ValueError("must be a whole number, or a share below 1")
    return value


def principal(x: np.ndarray, components: float, seed: int) -> "PCA":
    """Principal components of records (record, value): so many, or as many as explain this share of the variance.

    Raises:
        ValueError: fewer records or values than components.
    """
    from sklearn.decomposition import PCA

    if components > min(x.shape):
        raise ValueError(f"components must be at most {min(x.shape)} for {len(x)} records of {x.shape[1]} values")
    return PCA(int(components) if components >= 1 else components, random_state=seed).fit(x)

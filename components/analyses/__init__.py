"""What a code is good for: analyses of a trained model, one file each; the stage `analyse` runs them.

An analysis fits what it needs (a probe, a view) to train, chooses on validation and reports on test. It decides
nothing: no other stage reads what it finds. A file defines `Params`, a function from them and a subject to an outcome,
and `ANALYSIS`, its entry in the registry.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from components.params import Options, validate
from components.runtime.registry import Registry

if TYPE_CHECKING:
    from components.analysing.outcome import Outcome
    from components.analysing.subject import Subject


class NotApplicableError(Exception):
    """The records or the model lack what an analysis needs; the message is the reason, a clause."""


class AnalysisParams(Options):
    """What a user may set; an analysis of its own adds fields with docstrings."""


class AnalysisEntry(NamedTuple):
    """One row of the registry."""

    run: "Callable[[Any, Subject], Outcome]"
    """(params, subject) to what was found; raises NotApplicableError."""
    params: type[AnalysisParams]
    title: str
    question: str
    """What it answers, in a sentence."""


_REGISTRY = Registry(__name__, "ANALYSIS", "analysis")


def known() -> list[str]:
    """Names of all analyses, from the listing of this folder."""
    return _REGISTRY.known()


def find(name: str, where: str = "analyse.analyses") -> AnalysisEntry:
    """The registry entry of an analysis; imports its file only.

    Raises:
        UserError: no such analysis; names the nearest one.
    """
    return _REGISTRY.find(name, where)


def resolve(wanted: Mapping[str, Any] | None, where: str = "analyse.analyses") -> dict[str, AnalysisParams]:
    """Each wanted analysis, all of them for None, with its params, defaults filled in.

    Raises:
        UserError: an unknown analysis or key, or a value out of its range.
    """
    wanted = dict.fromkeys(known()) if wanted is None else wanted
    return {name: validate(find(name, where).params, given, f"{where}.{name}") for name, given in wanted.items()}

"""The doctor: signs of what is wrong with a model, each measured, with what it means and what to change.

A check is one function and one row of a table. It answers None where it does not apply, which is never shown as passed.
`trained` looks at the history and at validation records and may guide a change of params.yaml; `tested` looks at test
records and only reports.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

import numpy as np

Verdict = Literal["ok", "warning", "problem", "not_applicable"]
Evidence = TypeVar("Evidence")


class Answer(NamedTuple):
    """A check's verdict and the number that decided it."""

    verdict: Verdict
    value: float


@dataclass(frozen=True)
class Finding:
    """One entry of diagnosis.json."""

    code: str
    title: str
    verdict: Verdict
    value: float | None
    remedy: str


@dataclass(frozen=True)
class Check(Generic[Evidence]):
    """One row of a table."""

    code: str
    title: str
    """States the problem, so that a verdict of problem reads as a sentence."""
    remedy: str
    ask: Callable[[Evidence], Answer | None]


def graded(value: float, warning: float, problem: float) -> Answer:
    """Larger is worse."""
    return Answer("problem" if value >= problem else "warning" if value >= warning else "ok", value)


def graded_down(value: float, warning: float, problem: float) -> Answer:
    """Smaller is worse."""
    return Answer("problem" if value <= problem else "warning" if value <= warning else "ok", value)


def diagnose(checks: Sequence[Check[Evidence]], evidence: Evidence) -> list[Finding]:
    """Every check's entry, in the order of the table."""
    return [_ask(check, evidence) for check in checks]


def _ask(check: Check[Evidence], evidence: Evidence) -> Finding:
    with np.errstate(all="ignore"):
        answer = check.ask(evidence)
    if answer is None or not math.isfinite(answer.value):  # what is no number is the finding of `not_finite`
        return Finding(check.code, check.title, "not_applicable", None, check.remedy)
    return Finding(check.code, check.title, answer.verdict, answer.value, check.remedy)

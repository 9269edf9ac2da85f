"""What a check found: an effect with its interval beside its limit, in one shape for all of them.

An alarm (`problem`) hangs on the interval's lower end, never on a p-value alone: on a large batch a test without an
effect size fires at differences that nobody would act on.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from components.scoring.metrics import Estimate

Verdict = Literal["ok", "warning", "problem", "not_applicable"]


class Check(NamedTuple):
    """What people read about a check."""

    title: str
    remedy: str


CHECKS = {
    "martingale": Check(
        "The stream has changed at some time",
        "look at the curve for when it began, compare records before and after, retrain with refreshed data",
    ),
    "ks": Check("Scores are distributed differently", "retrain with refreshed data if the new records are normal"),
    "psi": Check("Scores lie in other tenths", "retrain with refreshed data if the new records are normal"),
    "alarm_rate": Check(
        "More alarms than promised", "look at the gallery: either anomalies are more frequent, or normal has moved"
    ),
    "energy": Check("Codes lie elsewhere", "look at the units below and at what changed in the source"),
    "units": Check("A unit of the code moved", "look at what changed in the source"),
    "schema": Check("Columns are gone or new", "mend the export of the source, or prepare and train with the columns"),
    "unreadable": Check("Cells cannot be read", "mend the export of the source, or declare the column's kind anew"),
    "missing": Check("Cells are empty more often", "find out why the source leaves them empty"),
}
"""By name, in the order of the report."""


@dataclass(frozen=True)
class Finding:
    """The answer of one check."""

    check: str
    verdict: Verdict
    """`warning`: the effect is above the limit and its interval is not."""
    text: str
    """What was found, or why the check does not apply."""
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None

    @property
    def title(self) -> str:
        """See CHECKS."""
        return CHECKS[self.check].title

    @property
    def remedy(self) -> str:
        """See CHECKS."""
        return CHECKS[self.check].remedy

    def to_json(self) -> dict[str, Any]:
        """Plain data, with the title."""
        return {**asdict(self), "title": self.title}


def judge(check: str, effect: Estimate, limit: float, text: str) -> Finding:
    """Hold an effect and its interval against a limit."""
    verdict: Verdict = "problem" if effect.low > limit else "warning" if effect.value > limit else "ok"
    return Finding(check, verdict, text, *map(float, effect), float(limit))


def not_applicable(check: str, why: str) -> Finding:
    """The check has nothing to look at, which is not the same as nothing to find."""
    return Finding(check, "not_applicable", why)

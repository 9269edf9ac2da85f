"""monitoring.html: one page that needs no network and no script, like the training report, whose parts it uses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure as Drawn

from components.comparing.wording import number
from components.drifting import pictures
from components.drifting.alarms import largest_expected
from components.drifting.checks import Findings
from components.drifting.memory import Memory
from components.drifting.reference import Reference
from components.params.drift import Params
from components.reporting.figures import inline
from components.reporting.pages import environment
from components.reporting.plots import save

_MOST_UNITS = 30


@dataclass(frozen=True)
class Figure:
    """A picture and what it shows."""

    svg: Markup
    caption: str


@dataclass(frozen=True)
class Subject:
    """Whose page it is."""

    name: str
    version: str
    at: datetime
    new_records: int
    set_aside: Sequence[str]
    """New parts that another version scored."""


def render(
    subject: Subject, memory: Memory, reference: Reference, findings: Findings, params: Params, folder: Path
) -> str:
    """The page; its pictures are left in `folder` too."""
    alarms = findings.alarms
    titles = [finding.title for finding in findings.checks if finding.check in alarms]
    return environment(Path(__file__).parent).get_template("monitoring.html.j2").render(
        headline=_headline(titles, memory),
        name=subject.name,
        version=subject.version,
        at=f"{subject.at:%Y-%m-%d %H:%M} UTC",
        new_records=subject.new_records,
        set_aside=subject.set_aside,
        memory=memory,
        findings=findings.checks,
        alarms=alarms,
        units=sorted(findings.units, key=lambda unit: -unit.distance.value)[:_MOST_UNITS],
        figures=_figures(memory, reference, params, folder),
        threshold=reference.calibration.threshold,
        confidence=params.confidence,
        delta=params.delta,
        score=lambda score: number(score) if math.isfinite(score) else "not a number",
    )  # fmt: skip


def _headline(titles: Sequence[str], memory: Memory) -> str:
    if titles:
        more = f", and {len(titles) - 1} more alarm{'s' * (len(titles) > 2)}" if len(titles) > 1 else ""
        return titles[0] + more
    return "Nothing unusual" if memory.stream.wealth.records else "No record yet"


def _figures(memory: Memory, reference: Reference, params: Params, folder: Path) -> list[Figure]:
    calibration, window = reference.calibration, memory.scores
    limit = largest_expected(calibration, params.limits.alarm_rate, params.confidence)
    captions = {
        "wealth": "Money bet against the stream being unchanged; at the dashed line the bet is won.",
        "alarm_rates": "Among the latest records at each look.",
        "scores": "Each kind as shares of its own number; right of the dashed line lie the alarms.",
    }
    drawn: dict[str, Drawn] = {"wealth": pictures.wealth(memory.looks, params.delta)}
    if any(look["alarm_rate"] for look in memory.looks):
        drawn["alarm_rates"] = pictures.alarm_rates(memory.looks, calibration.alpha, limit)
    if np.isfinite(window).any():
        drawn["scores"] = pictures.scores(calibration.scores, window, calibration.threshold)
    for name, figure in drawn.items():
        save(figure, folder / f"{name}.svg")
    return [Figure(inline(folder / f"{name}.svg", f"{name}.", captions[name]), captions[name]) for name in drawn]

"""All checks of one look, in the order of the report."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from components.comparing.wording import number, p_value, percent, promised
from components.drifting.alarms import alarm_rate, largest_expected
from components.drifting.codes import Unit, energy, thin, units
from components.drifting.columns import ColumnState, TableState
from components.drifting.errors import distance, stability_index
from components.drifting.findings import Finding, judge, not_applicable
from components.drifting.martingale import Stream
from components.drifting.memory import Memory
from components.drifting.reference import Reference
from components.params.drift import Params
from components.scoring.metrics import Estimate

FEWEST = 50
"""Records that a window must hold: intervals from fewer are wide, and those of a bootstrap too narrow."""
_PLAIN = 0.01
"""Largest p-value of an energy distance that may alarm; resampling few codes makes too narrow an interval."""


@dataclass(frozen=True)
class Findings:
    """What one look found."""

    checks: list[Finding]
    units: list[Unit]
    """Every unit of the code, empty where codes were not looked at."""

    def __getitem__(self, check: str) -> Finding:
        return next(finding for finding in self.checks if finding.check == check)

    @property
    def alarms(self) -> list[str]:
        """Names of the checks that raise an alarm."""
        return [finding.check for finding in self.checks if finding.verdict == "problem"]


def look_at(memory: Memory, reference: Reference, table: TableState | None, params: Params, seed: int) -> Findings:
    """Ask every check.

    Args:
        memory: of the stream so far.
        reference: of the version.
        table: new raw rows against the reference, where there are any.
        params: limits and sizes.
        seed: of resamples and permutations.
    """
    moved, codes = _codes(memory, reference, params, seed)
    scores = [_martingale(memory.stream, params.delta), *_scores(memory, reference, params, seed)]
    return Findings([*scores, *codes, *_columns(table, reference, params)], moved)


def _martingale(stream: Stream, delta: float) -> Finding:
    wealth, wanted = stream.wealth, 1 / delta
    if not wealth.records:
        return not_applicable("martingale", "no record yet")
    peak = wealth.peak / np.log(10)
    text = (
        f"the wealth reached {_money(peak)} at most, {number(wanted)} is an alarm; "
        f"it is {_money(wealth.now / np.log(10))} after {number(wealth.records)} records"
    )
    if stream.crossed is not None:
        text = (
            f"at record {number(stream.crossed)} of {number(wealth.records)} the wealth passed {number(wanted)}, "
            f"which happens by chance in at most {promised(delta)} of all streams without a change"
        )
    verdict = "ok" if stream.crossed is None else "problem"
    return Finding("martingale", verdict, text, effect=float(peak), limit=float(np.log10(wanted)))


def _money(log10: float) -> str:
    """A wealth, whose logarithm may be beyond any float: '0.0123', '1.5e+300', '10^512'."""
    return number(10**log10) if abs(log10) < 300 else f"10^{log10:.0f}"


def _scores(memory: Memory, reference: Reference, params: Params, seed: int) -> Iterator[Finding]:
    names = ("ks", "psi", "alarm_rate")
    if len(memory.scores) < FEWEST:
        yield from (not_applicable(name, _too_few(len(memory.scores), "records")) for name in names)
        return
    calibration, limits = reference.calibration, params.limits
    scores = np.where(np.isnan(memory.scores), np.inf, memory.scores)
    of = f"on the latest {number(len(scores))} records against {number(calibration.n)} of calibration"
    gap = distance(calibration.scores, scores, params.confidence)
    yield judge("ks", gap, limits.ks, f"distance {_estimate(gap)} {of}")
    index = stability_index(calibration.scores, scores, params.confidence, seed)
    yield judge("psi", index, limits.psi, f"stability index {_estimate(index)} {of}")
    rate = alarm_rate(calibration.alarms(memory.scores), params.confidence)
    limit = largest_expected(calibration, limits.alarm_rate, params.confidence)
    text = (
        f"{percent(rate.value)} ({percent(rate.low)} to {percent(rate.high)}) of the latest {number(len(scores))} "
        f"records; promised {promised(calibration.alpha)} {calibration.promise}"
    )
    yield judge("alarm_rate", rate, limit, text)


def _codes(memory: Memory, reference: Reference, params: Params, seed: int) -> tuple[list[Unit], list[Finding]]:
    why = None
    if reference.codes is None:
        why = "this version was registered without codes"
    elif not memory.codes.size:
        why = "the scored records come without codes"
    elif memory.codes.shape[1] != reference.codes.shape[1]:
        why = f"codes have {memory.codes.shape[1]} units, those of this version {reference.codes.shape[1]}"
    elif len(memory.codes) < FEWEST:
        why = _too_few(len(memory.codes), "codes")
    if why:
        return [], [not_applicable("energy", why), not_applicable("units", why)]
    few = thin(memory.codes, params.codes)
    apart = energy(thin(reference.codes, params.codes), few, params.permutations, params.confidence, seed)
    text = f"{_estimate(apart.share)} of the largest distance, p {p_value(apart.p_value)}, on {number(len(few))} codes"
    whole = judge("energy", apart.share, params.limits.energy, text)
    if whole.verdict == "problem" and apart.p_value > _PLAIN:
        whole = replace(whole, verdict="warning")
    moved = units(reference.codes, memory.codes, params.confidence)
    most = max(moved, key=lambda unit: unit.distance.value)
    beyond = sum(unit.distance.low > params.limits.units for unit in moved)
    text = f"unit {most.number} most: distance {_estimate(most.distance)}, corrected p {p_value(most.p_value)}; "
    text += f"{beyond} of {len(moved)} units beyond the limit"
    return moved, [whole, judge("units", most.distance, params.limits.units, text)]


def _columns(table: TableState | None, reference: Reference, params: Params) -> Iterator[Finding]:
    names = ("schema", "unreadable", "missing")
    if table is None or not table.rows:
        why = "no raw rows to look at (--rows)" if reference.columns else "the records are no table"
        yield from (not_applicable(name, why) for name in names)
        return
    gone, new = (", ".join(f"'{name}'" for name in listed) for listed in (table.gone, table.new))
    verdict = "problem" if gone else "warning" if new else "ok"
    parts = [text for text in (gone and f"gone: {gone}", new and f"new: {new}") if text]
    yield Finding("schema", verdict, "; ".join(parts) or f"the {len(table.columns)} columns are there")
    for name in names[1:]:
        if not table.columns:
            yield not_applicable(name, "no known column is left")
            continue
        worst = max(table.columns, key=lambda column: _share(column, name).low)
        share = _share(worst, name)
        beyond = " beyond the usual" if name == "missing" else ""
        found = f"{_points(share.value)} ({_points(share.low)} to {_points(share.high)})"
        text = f"'{worst.name}' most: {found} of its cells{beyond}, in {number(table.rows)} new rows"
        yield judge(name, share, params.limits.cells, text)


def _share(column: ColumnState, name: str) -> Estimate:
    return getattr(column, name)


def _points(share: float) -> str:
    """A share that may be negative."""
    return f"{100 * share:.1f} %".replace("-", "\u2212")


def _estimate(effect: Estimate) -> str:
    return f"{effect.value:.3f} ({effect.low:.3f} to {effect.high:.3f})".replace("-", "\u2212")


def _too_few(found: int, what: str) -> str:
    return f"{number(found)} {what}, {FEWEST} are needed"

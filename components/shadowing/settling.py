"""What versions in shadow have shown decides, at every look of monitoring and without a person.

- probation: when the champion's alarm rate has left its band and that of the champion before, on the same records, has
  not, the alias goes back, once. When both have left it, the data moved, and retraining is the remedy.
- shadow: when its period is over, the challenger takes over unless its alarm rate has left its band.

A rate has left its band when the whole interval lies above the limit, which is monitoring's own rule.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from components.comparing.wording import number
from components.drifting.checks import FEWEST
from components.drifting.reference import load_reference
from components.params import drift, register
from components.publishing.by_hand import back_to
from components.publishing.key import forget_published
from components.publishing.listing import was_fitted
from components.publishing.moves import (
    REPLACED,
    Aliases,
    Entry,
    Move,
    catch_up,
    latest_of,
    log_figures,
    make,
    read_aliases,
)
from components.publishing.promotion import reopen
from components.publishing.store import Store
from components.runtime.errors import UserError
from components.runtime.outputs import WORK
from components.shadowing import answers, roles
from components.shadowing.comparison import Comparison, compare, write_differences
from components.shadowing.roles import Role

DIFFERENCES = "differences.csv"


@dataclass(frozen=True)
class Settled:
    """What one look at the versions in shadow came to."""

    name: str
    champion: str | None
    """After all moves."""
    lines: tuple[str, ...]
    """What was found and done."""


@dataclass(frozen=True)
class Rules:
    """What a decision hangs on."""

    scored: Path
    """Folder of the answers."""
    params: register.Params
    monitoring: drift.Params
    now: datetime


def settle(store: Store, rules: Rules) -> Settled:
    """Finish what was interrupted, then decide about the champion's probation and the challenger in shadow.

    Raises:
        UserError: there is no such folder, an answer cannot be read, or the store is away.
    """
    if not rules.scored.is_dir():
        raise UserError(str(rules.scored), "is not there", "name the folder that scoring writes to")
    (WORK / "tmp").mkdir(parents=True, exist_ok=True)
    aliases, finished = catch_up(store, rules.now)
    lines = [f"finished what was interrupted: {_told(finished)}"] if finished else []
    if aliases.champion:
        lines += _probation(store, aliases, rules)
        lines += _shadow(store, read_aliases(store), rules)
        now = read_aliases(store)
        kept = roles.in_shadow(store, str(now.champion), rules.params, rules.now)
        answers.clear(rules.scored, {role.version for role in kept})
        aliases = now
    return Settled(store.name, aliases.champion, tuple(lines) or ("no version is in shadow",))


def _told(entry: Entry) -> str:
    return f"version {entry.move.version} {entry.move.kind}"


def _probation(store: Store, aliases: Aliases, rules: Rules) -> Iterator[str]:
    if not (role := roles.previous(store, rules.params)):
        return
    champion = str(aliases.champion)
    confirmed = latest_of(store, champion, "confirmed")
    if confirmed and confirmed.number > role.begun.number:
        return
    found, key = _compare(store, champion, role, rules), f"probation {role.begun.number}"
    has_left = isinstance(found, Comparison) and found.champion.verdict == "problem"
    if has_left and found.other.verdict == "ok":
        before_it = store.client.get_model_version(store.name, role.version).tags.get(REPLACED)
        reason = f"its alarm rate left its band, version {role.version}'s did not: {found}"
        make(store, replace(back_to(role.version, before_it, aliases, reason), figures=found.figures), key, rules.now)
        yield f"rolled back from version {champion} to {role.version}: {reason}"
        return
    told = f"both left their bands, so the data moved, retrain: {found}" if has_left else str(found)
    if rules.now < role.until:
        yield f"version {champion} is on probation until {role.until:%Y-%m-%d %H:%M} UTC: {told}"
        return
    reason = f"its probation is over, and nothing spoke for version {role.version} again: {told}"
    figures = found.figures if isinstance(found, Comparison) else {}
    make(store, Move("confirmed", champion, aliases, aliases, reason, figures), key, rules.now)
    yield f"version {champion} is confirmed: {reason}"


def _shadow(store: Store, aliases: Aliases, rules: Rules) -> Iterator[str]:
    if not (role := roles.challenger(store, rules.params)):
        return
    champion, version = str(aliases.champion), role.version
    key, without = f"shadow {role.begun.number}", replace(aliases, shadow=None)
    if role.begun.move.after.champion != champion:
        reason = f"its match was with version {role.begun.move.after.champion}, not with {champion}; matched again"
        reopen(store, version)  # before the end, so that an interruption in between forgets nothing
        _end(store, Move("refused", version, aliases, without, reason), key, rules.now)
        yield f"version {version} in shadow: {reason} at its next publication"
        return
    found = _compare(store, champion, role, rules)
    wanted = max(rules.params.shadow_records, FEWEST)
    if not isinstance(found, Comparison) or found.records < wanted or rules.now < role.until:
        records = found.records if isinstance(found, Comparison) else 0
        period = f"{number(records)} of {number(wanted)} records, until {role.until:%Y-%m-%d %H:%M} UTC at least"
        yield f"version {version} is in shadow of {champion} ({period}): {found}"
        return
    if found.other.verdict == "problem":
        reason = f"its alarm rate in shadow left its band: {found}"
        _end(store, Move("refused", version, aliases, without, reason, found.figures), key, rules.now)
        yield f"version {version} is refused: {reason}"
        return
    reason = f"its alarm rate in shadow kept its band: {found}"
    after = Aliases(version, previous=champion)
    _end(store, Move("promoted", version, aliases, after, reason, found.figures), key, rules.now)
    yield f"version {version} takes over from {champion}: {reason}"


def _end(store: Store, move: Move, key: str, now: datetime) -> None:
    forget_published()  # what waited for the shadow to be free is asked again
    make(store, move, key, now)


def _compare(store: Store, champion: str, role: Role, rules: Rules) -> Comparison | str:
    """The comparison, also written to the run of the move that put the version into shadow; or why there is none."""
    try:
        ours, theirs = load_reference(store, champion), load_reference(store, role.version)
    except UserError as error:
        return error.what
    if ours.listing is None or theirs.listing is None:
        return "a version came without the listing of its records"

    def is_new(digests: np.ndarray) -> np.ndarray:
        return ~(was_fitted(ours.listing, digests) | was_fitted(theirs.listing, digests))

    most = rules.monitoring.window
    if role.role == "challenger":
        most = max(most, rules.params.shadow_records)
    sides = f"{store.name}/{champion}", f"{store.name}/{role.version}"
    pairs = answers.read_pairs(rules.scored, *sides, is_new, most)
    if pairs.records < FEWEST:
        return f"{number(pairs.records)} new records scored by both, {number(FEWEST)} are needed"
    found = compare(role.version, pairs, ours.calibration, theirs.calibration, rules.monitoring)
    with tempfile.TemporaryDirectory(prefix="shadow-", dir=WORK / "tmp") as folder:
        write_differences(pairs, Path(folder) / DIFFERENCES)
        log_figures(store, role.begun, found.figures, found.records, Path(folder) / DIFFERENCES)
    return found

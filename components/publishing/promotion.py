"""Who may lead: gates, then the match, then the move of the alias or a period in shadow before it.

A decision is written to the version before anything moves and marked as carried out afterwards. An interruption in
between repeats the move and not the decision, and a decision that was carried out is never made again: what a person
does to the alias later, a rollback above all, stands. Every decision stands in the history of `moves`.
"""

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from components.publishing.match import Incomparable, Match, play
from components.publishing.moves import ROLLED_BACK, Aliases, Kind, Move, catch_up, make, read_aliases
from components.publishing.results import Results
from components.publishing.store import TAG, Store
from components.runtime.errors import UserError
from components.runtime.outputs import WORK

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHALLENGER = "challenger"
_DECISION = f"{TAG}promotion"
_CARRIED_OUT = f"{TAG}decided"
_SEED = 0  # of the bootstrap: the same match has the same interval


@dataclass(frozen=True)
class Rules:
    """What a decision hangs on, beside the models."""

    metric: str
    """compare.winner."""
    margin: float
    """register.margin."""
    resamples: int
    may_lead: bool
    """The version's code is its commit's, or register.allow_dirty is set."""
    shadow: str | None = None
    """The period in shadow that a winner has before it takes over, in words; None where there is none."""


@dataclass(frozen=True)
class Promotion:
    """A decision about one version; promotion.json."""

    version: str
    promoted: bool
    reason: str
    champion_before: str | None
    margin: float
    match: Match | None = None
    state: Literal["decided", "shadow", "waits"] = "decided"
    """`shadow`: it won, and what it does in shadow decides; `waits`: another is in shadow, ask again afterwards."""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def settle(
    store: Store, results: Results, version: "ModelVersion", rules: Rules, now: datetime
) -> tuple[Promotion, bool]:
    """Decide about a version and move the aliases, or recall what was decided; tell whether it is news."""
    board, number = results.leaderboard, number_of(version)
    question = _digest([board["eligible"], rules.metric, rules.margin, rules.may_lead])
    decided = _recall(version, question)
    aliases, _ = catch_up(store, now)
    if decided and version.tags.get(_CARRIED_OUT) == question:
        return decided, False
    if _CARRIED_OUT not in version.tags:
        store.client.set_registered_model_alias(store.name, CHALLENGER, number)
    if not decided or decided.state == "waits" or _is_obsolete(decided, aliases):
        decided = _decide(store, results, version, aliases, rules)
        tag = json.dumps({"question": question, **decided.to_json()}, sort_keys=True)
        store.client.set_model_version_tag(store.name, number, _DECISION, tag)
    _carry_out(store, decided, aliases, question, now)
    if decided.state != "waits":
        store.client.set_model_version_tag(store.name, number, _CARRIED_OUT, question)
    return decided, True


def _is_obsolete(decided: Promotion, aliases: Aliases) -> bool:
    """Whether somebody else leads, or is in shadow, than when an interrupted decision was made."""
    another = decided.state == "shadow" and aliases.shadow not in (None, decided.version)
    return another or aliases.champion not in (decided.champion_before, decided.version)


def _carry_out(store: Store, decided: Promotion, aliases: Aliases, question: str, now: datetime) -> None:
    version, champion = decided.version, aliases.champion
    if version == champion:
        return
    kind: Kind = "waits" if decided.state == "waits" else "refused"
    after = aliases
    if decided.promoted:
        kind, after = "promoted", Aliases(version, previous=champion)
    elif decided.state == "shadow":
        kind, after = "shadow begun", replace(aliases, shadow=version)
    key = f"decision {version} {question} {decided.champion_before} {kind} {decided.reason}"
    figures = decided.match.figures if decided.match else {}
    make(store, Move(kind, version, aliases, after, decided.reason, figures), _digest(key), now)


def reopen(store: Store, version: str) -> None:
    """Have a version decided about anew at its next publication."""
    found = store.client.get_model_version(store.name, version)
    for tag in (_CARRIED_OUT, _DECISION):
        if tag in found.tags:
            store.client.delete_model_version_tag(store.name, version, tag)


def _decide(store: Store, results: Results, version: "ModelVersion", aliases: Aliases, rules: Rules) -> Promotion:
    champion = aliases.champion
    kept = Promotion(number_of(version), False, "", champion, rules.margin)
    if champion == kept.version:
        return replace(kept, promoted=True, reason="it is champion already")
    if ROLLED_BACK in version.tags:
        return replace(kept, reason=f"it was champion and was rolled back {version.tags[ROLLED_BACK]}")
    if not results.leaderboard["eligible"]:
        return replace(kept, reason="; ".join(results.leaderboard["reasons"]))
    if not rules.may_lead:
        fix = "commit it and run again, or set register.allow_dirty"
        return replace(kept, reason=f"the code differs from its commit; {fix}")
    if champion is None:
        return replace(kept, promoted=True, reason="every gate holds, and there was no champion")
    if aliases.shadow not in (None, kept.version):
        return replace(kept, state="waits", reason=f"version {aliases.shadow} is in shadow; asked again afterwards")
    try:
        match = _play(store, results, champion, rules)
    except Incomparable as finding:
        return replace(kept, reason=f"no match with version {champion}: {finding}")
    won = match.low > -rules.margin
    reason = f"{match}; the interval's worse end {'clears' if won else 'misses'} the margin of {rules.margin:g}"
    if won and rules.shadow:
        return replace(kept, match=match, state="shadow", reason=f"{reason}; in shadow first, for {rules.shadow}")
    return replace(kept, promoted=won, match=match, reason=reason)


def _play(store: Store, results: Results, champion: str, rules: Rules) -> Match:
    import mlflow

    uri = store.client.get_model_version_download_uri(store.name, champion)
    with tempfile.TemporaryDirectory(prefix="champion-", dir=WORK / "tmp") as folder:
        try:
            path = mlflow.artifacts.download_artifacts(uri, dst_path=folder, tracking_uri=store.client.tracking_uri)
        except (OSError, mlflow.MlflowException) as error:
            # away for now or gone for good look the same from here, so nothing is decided
            what = f"the files of version {champion}, the champion, cannot be read ({error})"
            raise UserError("register", what, "restore them or move the alias in MLflow, then run again") from None
        return play(Path(path), results.chosen.scorer, rules.metric, rules.resamples, _SEED)


def _recall(version: "ModelVersion", question: str) -> Promotion | None:
    raw = json.loads(version.tags.get(_DECISION, "{}"))
    if raw.pop("question", None) != question:
        return None
    return Promotion(**{**raw, "match": raw["match"] and Match(**raw["match"])})


def number_of(version: "ModelVersion") -> str:
    """A version's number; a database answers with an integer where a server sends a string."""
    return str(version.version)


def find_champion(store: Store) -> str | None:
    """Number of the version in service, if there is one."""
    return read_aliases(store).champion


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

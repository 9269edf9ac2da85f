"""Who is champion: gates, then the match, then the move of the alias; and the way back.

A decision is written to the version before anything moves and marked as carried out afterwards. An interruption in
between repeats the move and not the decision, and a decision that was carried out is never made again: what a person
does to the alias later, a rollback above all, stands.
"""

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.params import unknown
from components.publishing.match import Incomparable, Match, play
from components.publishing.results import Results
from components.publishing.store import TAG, Store
from components.runtime.errors import UserError
from components.runtime.outputs import WORK

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER = "champion", "challenger"
_DECISION = f"{TAG}promotion"
_CARRIED_OUT = f"{TAG}decided"
REPLACED = f"{TAG}previous_champion"
_ROLLED_BACK = f"{TAG}rolled_back"
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


@dataclass(frozen=True)
class Promotion:
    """A decision about one version; promotion.json."""

    version: str
    promoted: bool
    reason: str
    champion_before: str | None
    margin: float
    match: Match | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def settle(store: Store, results: Results, version: "ModelVersion", rules: Rules) -> tuple[Promotion, bool]:
    """Decide about a version and move the aliases, or recall what was decided; tell whether it is news."""
    board, number = results.leaderboard, number_of(version)
    question = _digest([board["eligible"], rules.metric, rules.margin, rules.may_lead])
    decided = _recall(version, question)
    if decided and version.tags.get(_CARRIED_OUT) == question:
        return decided, False
    if _CARRIED_OUT not in version.tags:
        store.client.set_registered_model_alias(store.name, CHALLENGER, number)
    champion = find_champion(store)
    if not decided or champion not in (decided.champion_before, decided.version):
        decided = _decide(store, results, version, champion, rules)
        tag = json.dumps({"question": question, **decided.to_json()}, sort_keys=True)
        store.client.set_model_version_tag(store.name, number, _DECISION, tag)
    if decided.promoted and champion != number:
        if champion:
            store.client.set_model_version_tag(store.name, number, REPLACED, champion)
        store.client.set_registered_model_alias(store.name, CHAMPION, number)
    store.client.set_model_version_tag(store.name, number, _CARRIED_OUT, question)
    return decided, True


def _decide(store: Store, results: Results, version: "ModelVersion", champion: str | None, rules: Rules) -> Promotion:
    kept = Promotion(number_of(version), False, "", champion, rules.margin)
    if champion == kept.version:
        return replace(kept, promoted=True, reason="it is champion already")
    if _ROLLED_BACK in version.tags:
        return replace(kept, reason=f"it was champion and was rolled back {version.tags[_ROLLED_BACK]}")
    if not results.leaderboard["eligible"]:
        return replace(kept, reason="; ".join(results.leaderboard["reasons"]))
    if not rules.may_lead:
        fix = "commit it and run again, or set register.allow_dirty"
        return replace(kept, reason=f"the code differs from its commit; {fix}")
    if champion is None:
        return replace(kept, promoted=True, reason="every gate holds, and there was no champion")
    try:
        match = _play(store, results, champion, rules)
    except Incomparable as finding:
        return replace(kept, reason=f"no match with version {champion}: {finding}")
    promoted = match.low > -rules.margin
    verdict = f"the interval's worse end {'clears' if promoted else 'misses'} the margin of {rules.margin:g}"
    return replace(kept, promoted=promoted, match=match, reason=f"{match}; {verdict}")


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
    found = store.client.search_registered_models(f"name = '{store.name}'")
    number = found[0].aliases.get(CHAMPION) if found else None
    return number and str(number)


def roll_back(store: Store) -> tuple[str, str]:
    """Move the alias back to the version that the champion replaced; return (from, to).

    Raises:
        UserError: no such model, no champion, or none before it.
    """
    where, by_hand = "register rollback", f"set the alias '{CHAMPION}' in MLflow by hand"
    if not store.client.search_registered_models(f"name = '{store.name}'"):
        names = [model.name for model in store.client.search_registered_models()]
        if not names:
            raise UserError(where, "nothing is registered yet", "run `make run`")
        raise unknown("register.name", "registered model", store.name, names)
    champion = find_champion(store)
    if champion is None:
        raise UserError(where, f"'{store.name}' has no champion", by_hand)
    found = store.client.search_model_versions(f"name = '{store.name}'")
    versions = {number_of(version): version for version in found}
    if not (previous := versions[champion].tags.get(REPLACED)):
        what = f"version {champion} is the first champion of '{store.name}', there is none before it"
        raise UserError(where, what, by_hand)
    if previous not in versions:
        what = f"version {previous}, the champion before version {champion}, was deleted"
        raise UserError(where, what, by_hand)
    # the mark goes first: a version on its way out must not come back by itself
    store.client.set_model_version_tag(store.name, champion, _ROLLED_BACK, f"to version {previous}")
    store.client.set_registered_model_alias(store.name, CHAMPION, previous)
    return champion, previous


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

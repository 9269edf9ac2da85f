"""The moves of the alias `champion` and every decision against one: an append-only history in MLflow, written ahead.

A move is a run of the experiment NAME.promotions, created in one call with all that it is going to do; then it is done,
then the run is finished. Whatever ends a process in between, the next one finds a run that is not finished and does the
rest; a move asked for again, by the same key, is found and not made twice. Aliases of the registered model:

    champion    in service
    previous    the champion before it, to which a rollback goes
    shadow      scores what the champion scores, and may take over afterwards
    challenger  the latest registered version; no move, `promotion.settle` sets it
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from components.publishing.store import KEY_TAG, TAG, Store

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.store.entities import PagedList

Kind = Literal["promoted", "refused", "waits", "shadow begun", "confirmed", "rolled back", "by hand", "found"]
"""`confirmed`: the champion's probation ended well; `found`: the alias was moved by something else than this module."""
ROLLED_BACK = f"{TAG}rolled_back"
"""Tag of a version that was taken back; it is not promoted by itself any more."""
REPLACED = f"{TAG}previous_champion"
"""Tag of a version that took over: the number of the champion before it."""
LAST = f"{TAG}last_move"
"""Tag of a version: its latest move, with the reason."""
_NUMBER, _PLAN, _MOVED = f"{TAG}move", f"{TAG}plan", f"{TAG}moved"
_COUNT = "records"
"""Metric that every set of figures has."""
_LONGEST_TAG = 4000  # MLflow takes 5,000


@dataclass(frozen=True)
class Aliases:
    """Who is what, as numbers of versions."""

    champion: str | None = None
    previous: str | None = None
    shadow: str | None = None


@dataclass(frozen=True)
class Move:
    """What is done to one version, and why."""

    kind: Kind
    version: str
    before: Aliases
    after: Aliases
    reason: str
    figures: Mapping[str, float] = field(default_factory=dict)
    """What the decision hung on."""

    @property
    def leaves(self) -> str | None:
        """The version that was taken back, if one was."""
        return self.before.champion if self.kind in ("rolled back", "by hand") else None


@dataclass(frozen=True)
class Entry:
    """A line of the history."""

    number: int
    at: datetime
    move: Move
    state: Literal["begun", "done", "abandoned"]
    """`abandoned`: it was interrupted, and before it could be finished the alias was moved by something else."""
    run_id: str


def read_aliases(store: Store) -> Aliases:
    """Who is what now; nobody where nothing is registered."""
    found = store.client.search_registered_models(f"name = '{store.name}'")
    known = found[0].aliases if found else {}
    return Aliases(**{each.name: str(known[each.name]) for each in fields(Aliases) if each.name in known})


def history(store: Store) -> list[Entry]:
    """All moves, in their order."""
    entries, token = [], None
    while True:
        page = _search(store, "", 1000, token)
        entries += [_entry(run) for run in page]
        if not (token := page.token):
            return entries[::-1]


def latest(store: Store, where: str = "") -> Entry | None:
    """The latest move of those that a filter leaves, if there is one."""
    found = _search(store, where, 1)
    return _entry(found[0]) if found else None


def latest_of_champion(store: Store) -> Entry | None:
    """The latest move that changed who is champion."""
    return latest(store, f"tags.`{_MOVED}` = 'true'")


def latest_of(store: Store, version: str, kind: Kind) -> Entry | None:
    """The latest move of one kind that was about a version."""
    return latest(store, f"tags.`{TAG}version` = '{version}' AND tags.`{TAG}kind` = '{kind}'")


def catch_up(store: Store, now: datetime) -> tuple[Aliases, Entry | None]:
    """Finish what was interrupted and write down what was moved by hand; returns the aliases and what was finished."""
    last, finished = latest(store), None
    if last and last.state == "begun":
        if read_aliases(store).champion in (last.move.before.champion, last.move.after.champion):
            _carry_out(store, last)
            finished = last = replace(last, state="done")
        else:  # what somebody did since stands
            store.client.set_terminated(last.run_id, "KILLED")
            last = replace(last, state="abandoned")
    aliases, known = read_aliases(store), None
    if last:
        known = (last.move.after if last.state == "done" else last.move.before).champion
    if aliases.champion != known:
        told = f"the alias was moved from version {known} by something else" if last else "it led before this history"
        found = Move("found", aliases.champion or str(known), Aliases(known), aliases, told)
        make(store, found, f"found after {last.number if last else 0}", now)
    return aliases, finished


def make(store: Store, move: Move, key: str, now: datetime) -> bool:
    """Make a move and write it down, once for each key; tell whether it is news.

    Args:
        store: the tracking store.
        move: what is to be done.
        key: of what asks for it; equal for the same event.
        now: the time in the history.
    """
    key = f"{store.name} {key}"
    found = latest(store, f"tags.`{KEY_TAG}` = '{key}'")
    if found and found.state != "begun":
        return False
    if not found:
        last = latest(store)
        number = last.number + 1 if last else 1
        run = store.client.create_run(
            Store(store.client, _experiment(store)).experiment_id,
            start_time=int(now.timestamp() * 1000),
            tags=_tags(move, number, key),
            run_name=f"{number} {move.kind}: version {move.version}",
        )
        found = _entry(run)
    _carry_out(store, found)
    return True


def log_figures(store: Store, entry: Entry, figures: Mapping[str, float], step: int, file: Path | None = None) -> None:
    """Add numbers, and a file with what is behind them, to a move's run, once for each step."""
    from mlflow.entities import Metric

    known = store.client.get_metric_history(entry.run_id, _COUNT)
    if not figures or any(point.step == step for point in known):
        return
    if file:  # before the numbers, by which it is known to be there
        store.client.log_artifact(entry.run_id, str(file))
    at = int(entry.at.timestamp() * 1000)
    values = {**figures, _COUNT: figures.get(_COUNT, 0)}
    store.client.log_batch(entry.run_id, [Metric(name, float(value), at, step) for name, value in values.items()])


def _carry_out(store: Store, entry: Entry) -> None:
    """Do all of it, whatever has been done already. `champion` is set, never deleted, so somebody leads throughout."""
    move, client, name = entry.move, store.client, store.name
    after, now = move.after, read_aliases(store)
    if move.leaves:  # the mark goes first: a version on its way out must not come back by itself
        how = " by hand" if move.kind == "by hand" else ""
        client.set_model_version_tag(name, move.leaves, ROLLED_BACK, f"to version {after.champion}{how}")
    if move.kind in ("promoted", "by hand") and move.before.champion:
        client.set_model_version_tag(name, move.version, REPLACED, move.before.champion)
    if move.kind == "by hand" and ROLLED_BACK in client.get_model_version(name, move.version).tags:
        client.delete_model_version_tag(name, move.version, ROLLED_BACK)
    if move.kind != "found":
        for alias in ("previous", "champion", "shadow"):
            wanted = getattr(after, alias)
            if wanted and wanted != getattr(now, alias):
                client.set_registered_model_alias(name, alias, wanted)
            elif not wanted and getattr(now, alias) and alias != "champion":
                client.delete_registered_model_alias(name, alias)
        text = f"{move.kind} on {entry.at:%Y-%m-%d %H:%M} UTC: {move.reason}"
        client.set_model_version_tag(name, move.version, LAST, text[:_LONGEST_TAG])
    log_figures(store, entry, move.figures, 0)
    client.set_terminated(entry.run_id, "FINISHED")


def _tags(move: Move, number: int, key: str) -> dict[str, str]:
    plan = {"before": asdict(move.before), "after": asdict(move.after), "figures": dict(move.figures)}
    return {
        KEY_TAG: key,
        _NUMBER: f"{number:06d}",  # ordered as text
        _PLAN: json.dumps(plan, sort_keys=True),
        _MOVED: str(move.before.champion != move.after.champion).lower(),
        f"{TAG}kind": move.kind,
        f"{TAG}version": move.version,
        f"{TAG}champion": move.after.champion or "",
        f"{TAG}reason": move.reason[:_LONGEST_TAG],
        "mlflow.source.name": "components.register",
        "mlflow.source.type": "LOCAL",
    }


def _entry(run: "Run") -> Entry:
    tags = run.data.tags
    plan: dict[str, Any] = json.loads(tags[_PLAN])
    before, after = Aliases(**plan["before"]), Aliases(**plan["after"])
    move = Move(tags[f"{TAG}kind"], tags[f"{TAG}version"], before, after, tags[f"{TAG}reason"], plan["figures"])
    state = {"FINISHED": "done", "KILLED": "abandoned"}.get(run.info.status, "begun")
    at = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    return Entry(int(tags[_NUMBER]), at, move, state, run.info.run_id)


def _search(store: Store, where: str, most: int, token: str | None = None) -> "PagedList[Run]":
    from mlflow.store.entities import PagedList

    place = store.client.get_experiment_by_name(_experiment(store))
    if place is None:
        return PagedList([], None)
    both = " AND ".join(filter(None, (f"tags.`{_NUMBER}` LIKE '%'", where)))
    order = [f"tags.`{_NUMBER}` DESC"]
    return store.client.search_runs([place.experiment_id], both, max_results=most, order_by=order, page_token=token)


def _experiment(store: Store) -> str:
    """Of the history, apart from the runs of trainings: nothing cleans it up with theirs."""
    return f"{store.name}.promotions"

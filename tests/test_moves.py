"""Whatever happens in whatever order, and whatever cuts it off: somebody leads, and every move stands in the history.

Hypothesis draws the events; each may be killed at any writing call, before or after it took effect.
"""

import contextlib
import itertools
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from publications import NAME, Killed

from components.drifting.findings import Finding
from components.params import drift, register
from components.publishing import promotion
from components.publishing.by_hand import choose, roll_back
from components.publishing.match import Match
from components.publishing.moves import ROLLED_BACK, Entry, history, read_aliases
from components.publishing.promotion import Rules
from components.publishing.store import Store
from components.runtime.errors import UserError
from components.shadowing import settling
from components.shadowing.comparison import Comparison


@dataclass
class Registry:
    """Stands for MLflow's client, which would take minutes for all sequences; test_shadow.py has the real one."""

    aliases: dict[str, str] = field(default_factory=dict)
    versions: dict[str, SimpleNamespace] = field(default_factory=dict)
    runs: list[SimpleNamespace] = field(default_factory=list)
    left: int = 0
    """Writing calls until it dies; 0 never."""
    dies_after: bool = False

    def _write(self, act: Callable[[], Any]) -> Any:
        self.left -= 1
        if self.left == 0 and not self.dies_after:
            raise Killed
        result = act()
        if self.left == 0:
            raise Killed
        return result

    def get_experiment_by_name(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(
            experiment_id=name, lifecycle_stage="active", artifact_location=str(Path("mlartifacts").resolve() / name)
        )

    def search_registered_models(self, _: str = "") -> list[SimpleNamespace]:
        return [SimpleNamespace(name=NAME, aliases=dict(self.aliases))] if self.versions else []

    def search_model_versions(self, _: str) -> list[SimpleNamespace]:
        return list(self.versions.values())

    def get_model_version(self, _: str, number: str) -> SimpleNamespace:
        return self.versions[number]

    def set_registered_model_alias(self, _: str, alias: str, number: str) -> None:
        self._write(lambda: self.aliases.__setitem__(alias, number))

    def delete_registered_model_alias(self, _: str, alias: str) -> None:
        self._write(lambda: self.aliases.pop(alias, None))

    def set_model_version_tag(self, _: str, number: str, tag: str, value: str) -> None:
        self._write(lambda: self.versions[number].tags.__setitem__(tag, value))

    def delete_model_version_tag(self, _: str, number: str, tag: str) -> None:
        self._write(lambda: self.versions[number].tags.pop(tag))

    def create_run(self, _: str, start_time: int, tags: dict[str, str], run_name: str) -> SimpleNamespace:
        run = SimpleNamespace(
            info=SimpleNamespace(status="RUNNING", start_time=start_time, run_id=str(len(self.runs)), name=run_name),
            data=SimpleNamespace(tags=dict(tags)),
        )
        return self._write(lambda: self.runs.append(run)) or run

    def set_terminated(self, run_id: str, status: str) -> None:
        self._write(lambda: setattr(self.runs[int(run_id)].info, "status", status))

    def search_runs(self, _: list[str], where: str, max_results: int, **__: Any) -> Any:
        wanted = re.findall(r"tags\.`([^`]+)` = '([^']*)'", where)
        found = [run for run in self.runs[::-1] if all(run.data.tags.get(tag) == value for tag, value in wanted)]
        return _Page(found[:max_results])

    def get_metric_history(self, *_: str) -> list[object]:
        return []

    def log_batch(self, *_: object) -> None:
        self._write(lambda: None)


class _Page(list):
    token = None


VERDICTS = st.sampled_from(["ok", "problem"])
DEATHS = st.one_of(st.just(0), st.just(0), st.integers(1, 12))
RULES = register.Params(shadow_records=50, probation_hours=48)


class Promotions(RuleBasedStateMachine):
    """The life of a registry."""

    def __init__(self) -> None:
        super().__init__()
        self.registry, self.now = Registry(), datetime(2026, 1, 1, tzinfo=UTC)
        self.store = Store(self.registry, NAME)
        self.is_settled = True

    def act(self, deaths: int, dies_after: bool, event: Callable[[], object]) -> None:
        """Let an event happen, and perhaps be killed in its n-th writing call."""
        self.registry.left, self.registry.dies_after = deaths, dies_after
        self.is_settled = False
        with contextlib.suppress(Killed, UserError):
            event()
            self.is_settled = True
        self.registry.left = 0

    @rule(hours=st.integers(1, 40))
    def wait(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(
        wins=st.booleans(),
        shadow=st.booleans(),
        margin=st.sampled_from([0, 0.01]),  # another margin asks another question about an old version
        deaths=DEATHS,
        after=st.booleans(),
        old=st.sampled_from([0, 0, 0, 1, 2]),
    )
    def publish(self, wins: bool, shadow: bool, margin: float, deaths: int, after: bool, old: int) -> None:
        """A new version, or an old one once more."""
        number = str(max(1, len(self.registry.versions) + 1 - old))
        version = self.registry.versions.setdefault(number, SimpleNamespace(version=number, tags={}))
        found = Match("auroc", 99, 0, 0.1, *((0.05, 0.15) if wins else (-0.05, 0.15)))
        results = SimpleNamespace(leaderboard={"eligible": True, "reasons": []})
        rules = Rules("auroc", margin, 9, True, "50 records" if shadow else None)
        snapshot = SimpleNamespace(version=number, tags=dict(version.tags))
        with mock.patch.object(promotion, "_play", lambda *_: found):
            self.act(deaths, after, lambda: promotion.settle(self.store, results, snapshot, rules, self.now))

    @rule(champion=VERDICTS, other=VERDICTS, deaths=DEATHS, after=st.booleans())
    def settle(self, champion: str, other: str, deaths: int, after: bool) -> None:
        """Monitoring looks at the versions in shadow."""
        sides = [Finding("alarm_rate", verdict, "", 0.1, 0.05, 0.2, 0.1) for verdict in (champion, other)]
        found = Comparison("2", 99, 99, *sides, 1, 2, 3, 0.5, 0.9)
        rules = settling.Rules(Path(), RULES, drift.Params(), self.now)
        before = len(self.history())
        with mock.patch.object(settling, "_compare", lambda *_: found):
            self.act(deaths, after, lambda: settling.settle(self.store, rules))
        went_back = any(entry.move.kind == "rolled back" for entry in self.history()[before:])
        assert not went_back or (champion, other) == ("problem", "ok")

    @precondition(lambda self: self.registry.versions)
    @rule(deaths=DEATHS, after=st.booleans())
    def roll_back(self, deaths: int, after: bool) -> None:
        self.act(deaths, after, lambda: roll_back(self.store, "by hand", self.now))

    @precondition(lambda self: self.registry.versions)
    @rule(which=st.integers(0, 5), deaths=DEATHS, after=st.booleans())
    def choose(self, which: int, deaths: int, after: bool) -> None:
        number = self.one_of(which)
        self.act(deaths, after, lambda: choose(self.store, f"{NAME}/{number}", "why not", self.now))

    @precondition(lambda self: self.registry.versions)
    @rule(which=st.integers(0, 5))
    def move_in_the_ui(self, which: int) -> None:
        self.registry.aliases["champion"] = self.one_of(which)
        self.is_settled = False

    def one_of(self, which: int) -> str:
        return str(1 + which % len(self.registry.versions))

    def history(self) -> list[Entry]:
        return history(self.store)

    @invariant()
    def somebody_leads(self) -> None:
        if any(entry.move.after.champion and entry.state == "done" for entry in self.history()):
            assert self.registry.aliases.get("champion") in self.registry.versions

    @invariant()
    def every_move_stands_in_the_history(self) -> None:
        entries = self.history()
        assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
        carried_out = [entry for entry in entries if entry.state != "abandoned"]
        for earlier, later in itertools.pairwise(carried_out):
            assert later.move.before.champion == earlier.move.after.champion, (earlier, later)
        assert all(entry.state != "begun" for entry in entries[:-1])
        if self.is_settled and entries:
            assert entries[-1].state != "begun"
            assert carried_out[-1].move.after == read_aliases(self.store)

    @invariant()
    def no_event_is_told_twice(self) -> None:
        keys = [run.data.tags["hourglass.key"] for run in self.registry.runs]
        assert len(keys) == len(set(keys))

    @invariant()
    def what_was_taken_back_does_not_come_back_by_itself(self) -> None:
        taken: set[str] = set()
        for entry in self.history():
            move = entry.move
            assert not (move.kind in ("promoted", "shadow begun") and move.version in taken)
            if entry.state == "done" and move.leaves:
                taken.add(move.leaves)
            if move.kind == "by hand":
                taken.discard(move.version)
        for number in taken:
            assert ROLLED_BACK in self.registry.versions[number].tags


@pytest.fixture(autouse=True)
def somewhere() -> Any:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield


Promotions.TestCase.settings = settings(
    max_examples=150, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
test_promotions = pytest.mark.usefixtures("somewhere")(Promotions.TestCase)

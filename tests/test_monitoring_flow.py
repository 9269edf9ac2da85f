"""An alarm begins one retraining: by the rule of the cool-down, whatever is interrupted, and on a real Prefect server.

References: the rule in words, Prefect's API for what was really scheduled, with which parameters.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect_api import ask, running_server
from toy_project import ROOT, ToyProject

from components.drifting.retraining import answer
from components.runtime.errors import UserError

MORNING = datetime(2026, 3, 1, 6, tzinfo=UTC)
DAY = timedelta(hours=24)


@dataclass
class Trainings:
    """Stands for Prefect: begins one training per key, and may be away."""

    keys: list[str] = field(default_factory=list)
    away: bool = False
    dies: bool = False

    def __call__(self, key: str) -> str:
        if self.away:
            raise UserError("--deployment", "is away", "start it")
        if key not in self.keys:
            self.keys.append(key)
        if self.dies:
            raise KeyboardInterrupt
        return "begun"


@dataclass
class Monitor:
    """The looks of one checkout."""

    path: Path
    trainings: Trainings = field(default_factory=Trainings)

    def look(self, hours: float, *alarms: str, version: str = "hourglass/1") -> str:
        """The kind of the answer to what stands so many hours after the morning."""
        now = MORNING + timedelta(hours=hours)
        return answer(alarms, version, now, DAY, self.trainings, self.path / "retrainings.json").kind


@pytest.fixture
def monitor(tmp_path: Path) -> Monitor:
    return Monitor(tmp_path)


def test_an_alarm_is_answered_once_however_long_it_stands(monitor: Monitor) -> None:
    kinds = [monitor.look(0), monitor.look(1, "ks"), monitor.look(2, "ks"), monitor.look(100, "ks")]
    assert kinds == ["calm", "began", "answered", "answered"]
    assert len(monitor.trainings.keys) == 1


def test_what_comes_within_the_cool_down_waits_for_its_end(monitor: Monitor) -> None:
    assert monitor.look(0, "ks") == "began"
    assert [monitor.look(hour, "ks", "psi") for hour in (1, 23.9, 24)] == ["cooling", "cooling", "began"]
    assert monitor.look(30) == "calm"
    assert [monitor.look(hour, "ks") for hour in (31, 49)] == ["cooling", "began"]  # it had gone and came back
    assert len(monitor.trainings.keys) == len(set(monitor.trainings.keys)) == 3


def test_a_new_version_has_alarms_of_its_own(monitor: Monitor) -> None:
    assert monitor.look(0, "martingale") == "began"
    assert monitor.look(30, "martingale", version="hourglass/2") == "began"


def test_an_interruption_begins_no_second_training(monitor: Monitor) -> None:
    monitor.trainings.dies = True
    with pytest.raises(KeyboardInterrupt):
        monitor.look(0, "ks")
    monitor.trainings.dies = False
    assert monitor.look(1, "ks") == "began"
    assert len(monitor.trainings.keys) == 1


def test_a_training_that_could_not_begin_is_tried_at_the_next_look(monitor: Monitor) -> None:
    monitor.trainings.away = True
    with pytest.raises(UserError):
        monitor.look(0, "ks")
    monitor.trainings.away = False
    assert monitor.look(1, "ks") == "began"


def test_damaged_answers_are_named(monitor: Monitor) -> None:
    (monitor.path / "retrainings.json").write_text("{")
    with pytest.raises(UserError, match=r"retrainings.json: is damaged; delete it"):
        monitor.look(0, "ks")


DRIFT = """
import json, pathlib, sys
from components.runtime.errors import UserError, die
if sys.argv[1] == "nowhere":
    die(UserError("nowhere", "is not there", "name the folder"))
alarms = pathlib.Path("alarms").read_text().split()
finding = {"check": "ks", "title": "Scores", "verdict": "problem", "text": "far", "effect": 0.5, "low": 0.4}
look = {"name": "hourglass", "version": "1", "records": 9, "new_records": 9, "set_aside": [], "alarms": alarms,
        "findings": [{**finding, "high": None, "limit": 0.1}], "report": "monitoring.html", "cool_down_hours": 24}
pathlib.Path(".monitoring").mkdir(exist_ok=True)
pathlib.Path(".monitoring/latest.json").write_text(json.dumps(look))
print("looked at", *sys.argv[1:], flush=True)
"""
"""What `components.drift` does, without MLflow and numpy."""
SETTLE = """
import json, pathlib, sys
champion = pathlib.Path("champion").read_text()
pathlib.Path(".monitoring/settled.json").write_text(json.dumps({"champion": champion}))
print("settled", *sys.argv[1:], flush=True)
"""
"""What `components.register --settle` does, without MLflow."""


@pytest.fixture
def toy(tmp_path: Path) -> ToyProject:
    made = ToyProject(tmp_path / "checkout")
    (made.path / "components/drifting").symlink_to(ROOT / "components/drifting")
    made.write("components/drift.py", DRIFT)
    made.write("components/register.py", SETTLE)
    made.write("alarms", "ks")
    made.write("champion", "1")
    return made


def test_on_a_real_server_an_alarm_schedules_the_deployment_once(toy: ToyProject, tmp_path: Path) -> None:
    with running_server(tmp_path / "prefect") as url:
        under = {"PREFECT_API_URL": url}
        monitoring = ("flows.monitoring", "scored", "--deployment", "training/nightly")
        refused = toy.run(*monitoring, environment=under)
        assert refused.returncode == 2
        assert "error: --deployment: 'training/nightly' cannot be run" in refused.stderr

        ask(url, "deployments/", name="nightly", flow_id=ask(url, "flows/", name="training")["id"])
        first, second = toy.run(*monitoring, environment=under), toy.run(*monitoring, environment=under)
        assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
        assert first.stdout.startswith("ks: started training/nightly as '")
        assert second.stdout.startswith("answered before, on ")
        scheduled = [run for run in ask(url, "flow_runs/filter") if run["deployment_id"]]
        assert [(run["state_type"], run["parameters"]) for run in scheduled] == [("SCHEDULED", {"refresh": True})]
        states = {run["state_name"] for run in ask(url, "flow_runs/filter") if not run["deployment_id"]}
        assert states == {"UserError", "Alarm"}
        shown = {artifact["key"] for artifact in ask(url, "artifacts/filter")}
        assert {"monitoring", "monitoring-report"} <= shown

        toy.write("alarms", "ks psi")
        toy.write("champion", "0")  # the look's version was rolled back: the remedy is done, and no training begins
        replaced = toy.run(*monitoring, environment=under)
        assert replaced.stdout.startswith("version 0 is champion now, instead of version 1 that was looked at")
        assert "settled --settle scored" in replaced.stdout + replaced.stderr
        assert sum(bool(run["deployment_id"]) for run in ask(url, "flow_runs/filter")) == 1

        wrong = toy.run("flows.monitoring", "nowhere", environment=under)
        assert wrong.returncode == 2
        assert wrong.stderr.strip().endswith("error: nowhere: is not there; name the folder")


def test_a_deployment_needs_a_lasting_server(toy: ToyProject) -> None:
    refused = toy.run("flows.monitoring", "scored", "--deployment", "training/nightly")
    assert refused.stderr.startswith("error: PREFECT_API_URL: is not set, and a deployment lives on a lasting server")

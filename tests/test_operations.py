"""docs/operations.md keeps its word: what it has an operator type deploys, works off slots, and tells people.

Reference: the stack's own PostgreSQL, Prefect server and worker, and a real receiver of webhooks; the toy project
stands for the checkout, so that a night takes seconds.
"""

import importlib.util
import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, environment, must
from test_monitoring_flow import DRIFT
from test_stack import ask
from toy_project import ToyProject, wait_until

from infra.stack import postgres, prefect, processes, worker
from infra.stack.server import Server
from infra.stack.settings import Settings, open_settings

pytestmark = pytest.mark.timeout(900)  # two cores that others load, and every command is a Prefect to import

QUICK = {
    "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "1",
    "PREFECT_WORKER_QUERY_SECONDS": "1",
}
"""A server and a worker that look around every second, and are otherwise those of `make stack`."""
OWN_POOL = "prefect work-pool create hourglass-{0} --type {0} --base-job-template infra/pools/{0}.json"
RECENT = "prefect flow-run ls --state-type COMPLETED --state-type FAILED --state-type CRASHED --limit 5"
TYPED = {
    "prefect work-pool create hourglass --type process",
    "prefect deploy --all",
    "python -m infra.notifications",
    "prefect deployment run training/nightly --watch",
    "prefect deployment run scoring/hourly --watch",
    "prefect deployment run monitoring/hourly --watch",
    "prefect deployment run retention/weekly --watch",
    RECENT,
    OWN_POOL.format("docker"),
    OWN_POOL.format("kubernetes"),
}
"""What the tests type, and so all that the page may say."""
TELL = "import sys\nopen('executions', 'a').write(' '.join([{!r}, *sys.argv[1:]]))\n"
SETTLE = """
import json, pathlib, sys
if "--settle" in sys.argv:
    champion = json.loads(pathlib.Path(".monitoring/latest.json").read_text())["version"]
    pathlib.Path(".monitoring/settled.json").write_text(json.dumps({"champion": champion}))
    sys.exit()
"""
"""Nothing stands in shadow: monitoring asks at every look."""
OTHERS = ("scoring/hourly", "monitoring/hourly", "retention/weekly")
NIGHT = 'cron: "0 2 * * *"'
WEBHOOK_PATH = "/services/T0/secret"


@dataclass
class Receiver:
    """Takes what is posted, as a chat would."""

    texts: list[str] = field(default_factory=list)
    url: str = ""

    def got(self, *words: str) -> bool:
        """Whether one message holds all of these."""
        return any(all(word in text for word in words) for text in self.texts)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """One on loopback."""
    received = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200 if self.path == WEBHOOK_PATH else 404)
            self.end_headers()
            if self.path == WEBHOOK_PATH:
                received.texts.append(body["text"])

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        received.url = f"http://127.0.0.1:{server.server_port}{WEBHOOK_PATH}"
        yield received
        server.shutdown()


@dataclass
class Site:
    """A checkout with its stack, and who is told."""

    toy: ToyProject
    settings: Settings
    told: Receiver

    def up(self, server: Server) -> None:
        """Start one of the stack."""
        quick = replace(server, environment={**server.environment, **QUICK})
        processes.start(self.settings, quick)
        processes.wait_until_well(self.settings, quick)

    def start(self, command: str, **streams: Any) -> "subprocess.Popen[bytes]":
        """Start what an operator types in the checkout, after `. .stack/env`."""
        assert any(typed.startswith(command) for typed in TYPED), command
        known = {**worker.client_environment(self.settings), "HOURGLASS_WEBHOOK": self.told.url}
        known |= {"PREFECT_HOME": str(self.toy.path / ".prefect")}
        return subprocess.Popen(shlex.split(command), cwd=self.toy.path, env=environment(**known), **streams)

    def type(self, command: str) -> str:
        """Type a command that ends well; what it prints."""
        process = self.start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = process.communicate(timeout=300)[0].decode()
        assert process.returncode == 0, said
        return said

    def ask(self, path: str, **body: Any) -> Any:
        """What Prefect's server answers."""
        answer = ask(self.settings, "prefect", f"api/{path}", body, self.settings.secrets["prefect_api"])
        return json.loads(answer or "null")

    def deployment(self, name: str) -> dict[str, Any]:
        """What the server knows of FLOW/NAME."""
        flow, _, own = name.partition("/")
        wanted = {"flows": {"name": {"any_": [flow]}}, "deployments": {"name": {"any_": [own]}}}
        (found,) = self.ask("deployments/filter", **wanted)
        return found

    def runs(self, name: str) -> list[dict[str, Any]]:
        """The runs of a deployment whose time has come, in order of it."""
        due = {"before_": datetime.now(UTC).isoformat()}
        which = {"deployment_id": {"any_": [self.deployment(name)["id"]]}, "expected_start_time": due}
        return self.ask("flow_runs/filter", flow_runs=which, sort="EXPECTED_START_TIME_ASC")

    def have_ended(self, name: str) -> bool:
        """Whether every run of a deployment has."""
        return {run["state_type"] for run in self.runs(name)} <= {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def at_terminal(site: Site, command: str) -> None:
    """Type a command at a terminal, where Prefect would ask questions if anything were open; nobody answers."""
    ours, theirs = pty.openpty()
    process = site.start(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    with suppress(OSError):  # Linux's end of a terminal
        while piece := os.read(ours, 65536):
            said += piece
    os.close(ours)
    assert process.wait() == 0, said.decode()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A checkout with a server and no worker, in a folder that the user `postgres` may enter too, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="hourglass-operations-"))
    folder.chmod(0o755)
    toy = ToyProject(folder / "checkout")
    for name in ("components/bulk", "components/drifting", "infra"):
        (toy.path / name).symlink_to(ROOT / name)
    toy.write("components/drift.py", DRIFT)
    for act in ("score", "retain"):
        toy.write(f"components/{act}.py", TELL.format(act))
    toy.write("components/register.py", SETTLE + toy.read("components/register.py"))
    settings = open_settings(toy.path / ".stack")
    with receiver() as told:
        made = Site(toy, settings, told)
        try:
            made.up(postgres.server(settings))
            made.up(prefect.server(settings))
            yield made
        finally:
            for name in ("worker", "prefect", "postgres"):
                processes.stop(settings, name, signal.SIGINT)
            shutil.rmtree(folder)


@pytest.fixture(scope="module")
def deployed(site: Site) -> Site:
    """Deployed, with a worker that came when three nights had passed."""
    now = datetime.now(UTC)
    site.type("prefect work-pool create hourglass --type process")
    written = (ROOT / "prefect.yaml").read_text()
    assert NIGHT in written
    site.toy.write("prefect.yaml", written.replace(NIGHT, f'cron: "0 {(now.hour + 12) % 24} * * *"'))
    at_terminal(site, "prefect deploy --all")
    for name in OTHERS:  # the clock on the wall must not start them
        site.ask(f"deployments/{site.deployment(name)['id']}/pause_deployment")
    site.type("python -m infra.notifications")
    nights = {"start_time": (now - timedelta(days=3)).isoformat(), "end_time": now.isoformat(), "min_runs": 3}
    site.ask(f"deployments/{site.deployment('training/nightly')['id']}/schedule", **nights)
    assert len(site.runs("training/nightly")) == 3
    site.up(worker.server(site.settings))
    return site


def test_after_an_outage_the_newest_slot_is_worked_off_and_the_others_are_dropped(deployed: Site) -> None:
    assert wait_until(lambda: deployed.have_ended("training/nightly"), seconds=180)
    states = [run["state_name"] for run in deployed.runs("training/nightly")]
    assert states == ["Dropped", "Dropped", "Completed"]
    ran = deployed.toy.executed()
    assert sorted(ran) == sorted({*ran}) and {"ingest", "train@a", "compare", "register"} <= {*ran}


def test_a_second_training_waits_and_one_that_fails_is_told(deployed: Site) -> None:
    toy = deployed.toy
    toy.control("ingest", "while not pathlib.Path('go').exists(): time.sleep(0.05)")
    for _ in range(2):
        deployed.type("prefect deployment run training/nightly")
    now = lambda: sorted(run["state_name"] for run in deployed.runs("training/nightly")[3:])  # noqa: E731
    assert wait_until(lambda: now() == ["AwaitingConcurrencySlot", "Running"]), now()
    toy.write("go", "")
    assert wait_until(lambda: "Completed" in now())
    toy.control("ingest", "sys.exit('the source is away')")
    assert wait_until(lambda: deployed.have_ended("training/nightly"), seconds=120)
    assert now() == ["Completed", "Failed"]
    assert wait_until(lambda: deployed.told.got("training failed", "ingest: exit code 1: the source is away"))


def test_an_alarm_trains_on_refreshed_data_and_both_it_and_the_new_champion_are_told(deployed: Site) -> None:
    assert wait_until(lambda: deployed.have_ended("training/nightly"), seconds=180)
    toy, before = deployed.toy, len(deployed.runs("training/nightly"))
    toy.control("ingest", "")
    toy.write("source", "newer")
    toy.write("champion", "version 2: every gate holds")
    toy.write("alarms", "ks")
    toy.executed()
    deployed.type("prefect deployment run monitoring/hourly --watch")
    assert [run["state_name"] for run in deployed.runs("monitoring/hourly")] == ["Alarm"]
    assert wait_until(lambda: deployed.have_ended("training/nightly"), seconds=120)
    (trained,) = deployed.runs("training/nightly")[before:]
    assert (trained["state_name"], trained["parameters"]) == ("Promoted", {"refresh": True, "wait": True})
    assert toy.executed().count("ingest") == 1 and toy.read("artifacts/ingest/data") == "newer"
    page = f"{deployed.settings.url('prefect')}/runs/flow-run/"
    assert wait_until(lambda: deployed.told.got("drift", "Alarm: ks: started training/nightly as", page))
    assert wait_until(lambda: deployed.told.got("a new champion", "champion: version 2: every gate holds"))


def test_scoring_is_asked_for_what_the_deployment_names(deployed: Site) -> None:
    deployed.toy.executed()
    deployed.type("prefect deployment run scoring/hourly --watch")
    assert deployed.toy.executed() == ["score", "--with-codes", "--", "data/incoming"]
    (run,) = deployed.runs("scoring/hourly")
    assert run["id"][:13] in deployed.type(RECENT)


def test_retention_waits_for_trainings_and_only_lists(deployed: Site) -> None:
    deployed.toy.executed()
    deployed.type("prefect deployment run retention/weekly --watch")
    assert deployed.toy.executed() == ["retain", "--wait"]


def test_the_address_of_a_notification_is_nowhere_in_clear(deployed: Site) -> None:
    database = postgres.url(deployed.settings, "prefect", "psycopg").replace("+psycopg", "")
    dump = must("pg_dump", "--inserts", "--dbname", database, cwd=deployed.toy.path)
    logs = [path.read_text() for path in (deployed.settings.root / "log").iterdir()]
    assert "hourglass: drift" in dump and not [text for text in (dump, *logs) if WEBHOOK_PATH in text]


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_one_line_takes_a_deployment_to_another_pool(deployed: Site, kind: str) -> None:
    written = (ROOT / "prefect.yaml").read_text()
    moved = written.replace("<<: *process", f"<<: *{kind}").replace("name: nightly", f"name: {kind}")
    deployed.type(OWN_POOL.format(kind))
    deployed.toy.write("prefect.yaml", re.sub("name: (hourly|weekly)", f"name: {kind}", moved))
    at_terminal(deployed, "prefect deploy --all")
    mounted = [f"{deployed.toy.path}:/checkout"] if kind == "docker" else None
    for usual in ("training/nightly", *OTHERS):
        found = deployed.deployment(f"{usual.partition('/')[0]}/{kind}")
        (step,) = found["pull_steps"]
        assert step["prefect.deployments.steps.set_working_directory"] == {"directory": "/checkout"}
        assert found["work_pool_name"] == f"hourglass-{kind}"
        assert found["job_variables"].get("volumes") == mounted
        assert found["parameters"] == deployed.deployment(usual)["parameters"]


def test_the_page_says_nothing_that_is_not_typed_here_or_made_by_make(tmp_path: Path) -> None:
    page = (ROOT / "docs/operations.md").read_text()
    scripts = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    lines = [line for script in scripts for line in script.splitlines()] + re.findall(r"^\$ (.*)", page, re.MULTILINE)
    said = {part for text in (*lines, *re.findall(r"`([^`\n]+)`", page)) for part in text.split(" && ")}
    said = {re.sub(r"^[A-Z_]+=\S+ ", "", part) for part in said}
    targets = {target for part in said if part.startswith("make ") for target in part.split()[1:]}
    made = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets and targets <= made | {"run"}
    (works,) = {part for part in said if part.startswith("prefect worker")}
    assert set(works.split()[1:]) <= set(worker.server(open_settings(tmp_path / ".stack")).command)
    prefects = {part for part in said if part.startswith("prefect ")} - {works}
    assert {part for part in prefects if not any(typed.startswith(part) for typed in TYPED)} == set()
    modules = {part.split()[2] for part in said if part.startswith("python -m ")}
    assert modules and all(importlib.util.find_spec(module) for module in modules)


def test_every_parameter_of_a_flow_is_described_in_prefects_pages(deployed: Site) -> None:
    for name in ("training/nightly", *OTHERS):
        found = deployed.deployment(name)
        schema = found["parameter_openapi_schema"]["properties"]
        assert found["parameters"].keys() <= schema.keys() and found["enforce_parameter_schema"]
        assert [parameter for parameter, about in schema.items() if not about.get("description")] == [], name
    scoring = deployed.deployment("scoring/hourly")["id"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        deployed.ask(f"deployments/{scoring}/create_flow_run", parameters={"source": "new", "jobs": -1})
    assert b"-1 is less than the minimum of 0" in refused.value.read()

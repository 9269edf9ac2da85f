"""The stack keeps its promises: it starts once, answers those who may ask, stops what it started, loses nothing.

Reference: the real servers, started here, and the kernel (processes, listening sockets, modes of files).
"""

import base64
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import psutil
import psycopg
import pytest
from conftest import ROOT, must, run
from toy_project import is_alive, wait_until

from components.runtime.errors import UserError
from infra.stack import postgres, processes, worker
from infra.stack.s3 import BUCKET, Shelf
from infra.stack.server import Server
from infra.stack.settings import HOST, SERVERS, Settings, open_settings

FLOW = """\
import mlflow, prefect, sys

@prefect.flow
def night(number: int) -> None:
    with mlflow.start_run() as run:
        mlflow.log_metric("number", number)
        mlflow.log_text("kept" * 3_000_000, "large.txt")  # goes up in parts
        assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/large.txt") == "kept" * 3_000_000

if __name__ == "__main__":
    from prefect.deployments import run_deployment

    deployed = night.from_source(sys.path[0], "night.py:night").deploy("nightly", work_pool_name="hourglass")
    print(run_deployment("night/nightly", parameters={"number": 7}, timeout=120, poll_interval=0.5).state.name)
"""


def stack(folder: Path, command: str) -> str:
    """Give the stack of a folder a command, as `make` does."""
    return must(sys.executable, "-m", "infra.stack", command, cwd=folder, PYTHONPATH=str(ROOT))


@pytest.fixture(scope="module")
def running() -> Iterator[Settings]:
    """A stack that runs, in a folder that the user `postgres` may enter too, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="hourglass-stack-"))
    folder.chmod(0o755)
    try:
        stack(folder, "up")
        yield open_settings(folder / ".stack")
    finally:
        if (folder / ".stack/ports.json").exists():
            stack(folder, "down")
        shutil.rmtree(folder)


def leaders(settings: Settings) -> list[psutil.Process]:
    return [processes.find(settings, name) for name in SERVERS]


def members(settings: Settings) -> list[psutil.Process]:
    return [process for leader in leaders(settings) for process in (leader, *leader.children(recursive=True))]


def ask(settings: Settings, name: str, path: str, body: Mapping[str, Any] | None = None, secret: str = "") -> bytes:
    """What a server answers."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{settings.url(name)}/{path}", content)  # noqa: S310 - http, our own
    request.add_header("Content-Type", "application/json")
    if secret:
        token = base64.b64encode(f"hourglass:{secret}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - http, our own
        return answer.read()


def test_what_a_scheduled_flow_wrote_is_there_after_a_restart(running: Settings) -> None:
    folder = running.root.parent
    (folder / "night.py").write_text(FLOW)
    environment = worker.client_environment(running)
    told = must(sys.executable, "night.py", cwd=folder, **environment, PREFECT_HOME=str(folder / "prefect"))
    assert told.split()[-1] == "Completed"
    # what `make run` finds after `. .stack/env`
    sourced = must("bash", "-c", ". .stack/env && env", cwd=folder)
    assert {f"{name}={value}" for name, value in environment.items()} <= set(sourced.splitlines())

    before = leaders(running)
    everyone = [process.pid for process in members(running)]
    stack(folder, "up")
    assert leaders(running) == before, "a second start must find everything well"
    stack(folder, "down")
    assert [pid for pid in everyone if is_alive(pid)] == []
    status = run(sys.executable, "-m", "infra.stack", "status", cwd=folder, PYTHONPATH=str(ROOT))
    assert (status.returncode, status.stdout.count("does not run")) == (1, len(SERVERS))
    stack(folder, "up")

    search = {"experiment_ids": ["0"], "filter": "metrics.number = 7"}
    (found,) = json.loads(ask(running, "mlflow", "api/2.0/mlflow/runs/search", search))["runs"]
    large = ask(running, "mlflow", f"get-artifact?run_uuid={found['info']['run_id']}&path=large.txt")
    assert large == b"kept" * 3_000_000
    (flow_run,) = json.loads(ask(running, "prefect", "api/flow_runs/filter", {}, running.secrets["prefect_api"]))
    assert (flow_run["state_name"], flow_run["parameters"]) == ("Completed", {"number": 7})


def test_a_real_run_on_these_servers_shows_none_of_their_secrets(running: Settings, checkout: Path) -> None:
    """Everything that a run writes is searched: output, checkout, databases, S3 and the servers' logs."""
    config = "[core]\n    remote = store\n['remote \"store\"']\n    url = s3://hourglass/dvc\n    endpointurl = {}\n"
    (checkout / ".dvc/config.local").write_text(config.format(running.url("s3")))
    database = postgres.url(running, "mlflow", "psycopg")  # a password in the address itself
    environment = {**worker.client_environment(running), "MLFLOW_TRACKING_URI": database}
    done = run(sys.executable, "-m", "flows.training", cwd=checkout, **environment, PREFECT_LOGGING_LEVEL="DEBUG")
    assert done.returncode == 0, done.stdout + done.stderr

    texts = {"output": (done.stdout + done.stderr).encode()}
    for folder in (checkout, running.data("s3"), running.root / "log"):
        texts |= {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for name in ("mlflow", "prefect"):
        plain = postgres.url(running, name, "psycopg").replace("+psycopg", "")
        texts[name] = must("pg_dump", "--inserts", "--dbname", plain, cwd=checkout).encode()
    assert b"hourglass version 1" in texts["output"]
    assert b"hourglass.key" in texts["mlflow"] and b"training" in texts["prefect"]
    assert any(b'"key": "dvc/files/md5/' in text for text in texts.values())
    for name, secret in running.secrets.items():
        assert [place for place, text in texts.items() if secret.encode() in text] == [], name


def test_every_server_listens_on_loopback_and_none_shows_a_secret(running: Settings) -> None:
    everyone = members(running)
    listening = [c.laddr for p in everyone for c in p.net_connections() if c.status == psutil.CONN_LISTEN]
    assert {address.ip for address in listening} == {HOST}
    assert set(running.ports.values()) <= {address.port for address in listening}
    shown = " ".join(word for process in everyone for word in process.cmdline())
    logged = " ".join(running.log(name).read_text() for name in SERVERS)
    assert [name for name, secret in running.secrets.items() if secret in shown + logged] == []


def test_what_holds_secrets_or_data_is_its_owners_alone(running: Settings) -> None:
    private = [running.root / name for name in ("secrets.json", "env", "log", "run")]
    private += [running.data(name) for name in SERVERS]
    assert [path for path in private if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


@pytest.mark.parametrize(("name", "path"), [("s3", BUCKET), ("prefect", "api/flow_runs/filter")])
def test_who_does_not_know_the_secret_is_refused(running: Settings, name: str, path: str) -> None:
    body = {} if name == "prefect" else None
    for secret in ("", "guessed"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(running, name, path, body, secret)
        assert refused.value.code in (401, 403)
        refused.value.close()


def test_s3_refuses_a_wrong_key_and_keeps_what_the_right_one_changes(running: Settings) -> None:
    def client(secret: str) -> Any:
        session = boto3.session.Session("hourglass", secret, region_name="us-east-1")
        return session.client("s3", endpoint_url=running.url("s3"))

    with pytest.raises(Exception, match="SignatureDoesNotMatch"):
        client("guessed").list_buckets()
    s3 = client(running.secrets["s3"])
    for key in ("a b/ü?.txt", "gone", "gone too"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"content", Metadata={"of": "mine"})
    s3.delete_object(Bucket=BUCKET, Key="gone")
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "gone too"}]})
    kept = [path.read_bytes().split(b"\n", 1) for path in (running.data("s3") / BUCKET).iterdir()]
    ours = {
        about["key"]: content for line, content in kept if (about := json.loads(line))["metadata"].get("x-amz-meta-of")
    }
    assert ours == {"a b/ü?.txt": b"content"}


def test_one_server_cannot_enter_the_database_of_another(running: Settings) -> None:
    own = postgres.url(running, "prefect", "psycopg").replace("+psycopg", "")
    with psycopg.connect(own) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("prefect",)
    head, _, tail = own.rpartition("/prefect")
    for address in (f"{head}/mlflow{tail}", own.replace("//prefect:", "//mlflow:")):
        with pytest.raises(psycopg.OperationalError, match=r"permission denied for database|authentication failed"):
            psycopg.connect(address)


@pytest.mark.parametrize("name", ["s3", "mlflow"])
def test_a_page_of_another_origin_is_refused(running: Settings, name: str) -> None:
    path = {"s3": BUCKET, "mlflow": "api/2.0/mlflow/experiments/create"}[name]
    request = urllib.request.Request(f"{running.url(name)}/{path}", b'{"name": "foreign"}', method="POST")  # noqa: S310
    request.add_header("Origin", "http://evil.example")
    request.add_header("Content-Type", "application/json")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)  # noqa: S310 - http, our own
    assert refused.value.code == 403
    assert "Access-Control-Allow-Origin" not in refused.value.headers
    refused.value.close()


def test_an_object_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    from moto.s3.models import S3Backend

    backend = S3Backend("us-east-1", "111111111111")
    shelf = Shelf(tmp_path, backend)
    backend.create_bucket(BUCKET, "us-east-1")
    stored = backend.put_object(BUCKET, "key", b"one\ntwo", etag="of-parts-2", checksum_value="abc")
    stored.set_metadata({"Content-Type": "text/plain"})
    shelf.keep(BUCKET, "key")
    backend.delete_object(BUCKET, "key")
    backend.delete_bucket(BUCKET)
    shelf.fill()
    back = backend.get_object(BUCKET, "key")
    assert (back.value, back.etag, back.last_modified) == (b"one\ntwo", stored.etag, stored.last_modified)
    assert (back.checksum_value, back.metadata) == ("abc", stored.metadata)
    backend.delete_object(BUCKET, "key")
    backend.delete_bucket(BUCKET)
    shelf.keep(BUCKET, "")
    assert list(tmp_path.iterdir()) == []


SLEEPER = "import subprocess, time; subprocess.Popen(['sleep', '60']); print('up', flush=True); time.sleep(60)"


def test_only_what_the_stack_started_is_stopped(tmp_path: Path) -> None:
    settings = open_settings(tmp_path / ".stack")
    server = Server("worker", (sys.executable, "-c", SLEEPER), lambda: "up" in settings.log("worker").read_text())
    processes.start(settings, server)
    processes.wait_until_well(settings, server)
    started = processes.find(settings, "worker")
    family = [started, *started.children(recursive=True)]
    assert len(family) == 2
    note = json.loads(settings.pid_file("worker").read_text())
    settings.pid_file("worker").write_text(json.dumps({**note, "began": note["began"] - 1}))
    assert not processes.stop(settings, "worker", signal.SIGTERM), "a number that another process has by now"
    assert all(process.is_running() for process in family)
    settings.pid_file("worker").write_text(json.dumps(note))
    assert processes.stop(settings, "worker", signal.SIGTERM)
    assert wait_until(lambda: not any(is_alive(process.pid) for process in family))


def test_a_server_that_ends_at_once_names_its_log(tmp_path: Path) -> None:
    settings = open_settings(tmp_path / ".stack")
    server = Server("s3", (sys.executable, "-c", "print('broken')"), lambda: False)
    processes.start(settings, server)
    with pytest.raises(UserError, match=r"log/s3\.log: s3 ended; read that log"):
        processes.wait_until_well(settings, server)
    assert settings.log("s3").read_text() == "broken\n"


def test_ports_are_those_wanted_kept_and_free(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        settings = open_settings(tmp_path / ".stack", {"mlflow": port})
        assert settings.ports["mlflow"] == port
        assert len(set(settings.ports.values())) == len(SERVERS)
        assert open_settings(tmp_path / ".stack") == settings
        with pytest.raises(UserError, match=rf"mlflow has port {port}, not 1; stop it, edit"):
            open_settings(tmp_path / ".stack", {"mlflow": 1})
        with pytest.raises(UserError, match=rf"port {port} of mlflow: is taken; end who"):
            processes.start(settings, Server("mlflow", ("false",), lambda: True))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root must become another user")
def test_a_folder_that_postgres_cannot_enter_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "infra.stack", "up"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2
    assert "data/postgres: the user postgres cannot reach it; let others pass" in done.stderr


def test_without_a_stack_there_is_nothing_to_stop(tmp_path: Path) -> None:
    done = run(sys.executable, "-m", "infra.stack", "down", cwd=tmp_path, PYTHONPATH=str(ROOT))
    line = "error: .stack: there is no stack in this checkout; start one with `make stack`\n"
    assert (done.returncode, done.stderr) == (2, line)

"""The training flow on a toy project, with a real Prefect server: what runs, in which order, and how it ends.

References: `dvc repro` for the results, Prefect's API for what an operator sees, the kernel for what is left behind.
"""

import re
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect_api import ask, running_server
from toy_project import ToyProject, descendants_of, is_alive, wait_until

from flows.running import server as temporary

CHAIN = ["ingest", "prepare", "train@a", "train@b", "judge@a", "judge@b", "compare"]


@dataclass(frozen=True)
class Server:
    """A Prefect server that lasts for these tests."""

    url: str
    empty_home: Path
    """A PREFECT_HOME for temporary servers whose database is migrated already, which takes longer than all the rest."""

    def ask(self, path: str, **body: Any) -> Any:
        """Prefect's answer to a query."""
        return ask(self.url, path, **body)

    def tasks(self, log: str) -> dict[str, dict[str, Any]]:
        """What Prefect's UI shows of the flow run that wrote `log`: its tasks by name."""
        run = re.search(r"flow-run/([0-9a-f-]+)", log)[1]
        return {task["name"]: task for task in self.ask("task_runs/filter", flow_runs={"id": {"any_": [run]}})}


@pytest.fixture(scope="module")
def server(prefect_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("prefect")  # for copies: another process may look at the original
    home, empty = (shutil.copytree(prefect_home, folder / name) for name in ("own", "empty"))
    with running_server(home) as url:
        yield Server(url, empty)
        assert "database is locked" not in (home / temporary.LOG).read_text()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> ToyProject:
    """A project that `dvc repro` has brought up to date, and that is published; read only."""
    toy = ToyProject(tmp_path_factory.mktemp("reference"))
    assert toy.run("dvc", "repro", "-q").returncode == 0
    assert toy.run("components.register").returncode == 0
    toy.executed()
    return toy


@pytest.fixture
def toy(tmp_path: Path) -> ToyProject:
    return ToyProject(tmp_path)


@pytest.fixture
def published(reference: ToyProject, tmp_path: Path) -> ToyProject:
    shutil.copytree(reference.path, tmp_path / "checkout", symlinks=True)
    return ToyProject(tmp_path / "checkout")


def test_without_a_server_everything_runs_once_and_equals_dvc_repro(
    toy: ToyProject, reference: ToyProject, server: Server
) -> None:
    shutil.copytree(server.empty_home, toy.path / ".prefect")
    done = toy.run("flows.training", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    executed = toy.executed()
    assert sorted(executed) == sorted([*CHAIN, "register"])
    assert executed[:2] == ["ingest", "prepare"] and executed[-2:] == ["compare", "register"]
    assert toy.read("dvc.lock") == reference.read("dvc.lock")
    assert re.search(r"^[\d:]+ train@a +train@a at work$", done.stderr, re.MULTILINE)
    for noise in ("database is locked", "Traceback", "httpx", "View at", "Error logging"):
        assert noise not in done.stderr + toy.read(".prefect/server.log")

    begun = time.monotonic()
    again = toy.run("flows.training", environment={"PYTHONPROFILEIMPORTTIME": "1"})
    assert time.monotonic() - begun < 5
    assert again.returncode == 0
    assert again.stdout == "nothing to do: every stage is up to date, and what they made is published\n"
    imported = {line.rpartition("|")[2].strip() for line in again.stderr.splitlines()}
    assert "dvc.repo" in imported
    assert imported.isdisjoint({"prefect", "mlflow", "torch"})
    assert toy.executed() == []


def test_under_a_server_nothing_stale_is_a_run_that_completes_at_once(published: ToyProject, server: Server) -> None:
    under = {"PREFECT_API_URL": server.url}
    nothing = published.run("flows.training", environment=under)
    assert (nothing.returncode, published.executed(), server.tasks(nothing.stderr)) == (0, [], {})


def test_refreshing_goes_on_only_where_the_data_has_changed(published: ToyProject, server: Server) -> None:
    under = {"PREFECT_API_URL": server.url}
    same = published.run("flows.training", "--refresh", environment=under)
    assert (same.returncode, published.executed()) == (0, ["ingest"])
    tasks = server.tasks(same.stderr)
    assert {name: task["state_name"] for name, task in tasks.items()} == dict.fromkeys(CHAIN, "Unchanged")
    edges = {source["id"] for source in tasks["compare"]["task_inputs"]["wait_for"]}
    assert edges == {tasks["judge@a"]["id"], tasks["judge@b"]["id"]}

    published.write("source", "other data")
    published.variants("a")
    other = published.run("flows.training", "--refresh", environment=under)
    assert (other.returncode, sorted(published.executed())) == (
        0, ["compare", "ingest", "judge@a", "prepare", "register", "train@a"],
    )  # fmt: skip
    assert "removed artifacts/train/b: params.yaml no longer names it" in other.stdout
    assert {"leaderboard", "report"} <= {artifact["key"] for artifact in server.ask("artifacts/filter")}


def test_a_failing_variant_stops_neither_the_others_nor_a_later_run(published: ToyProject, server: Server) -> None:
    under = {"PREFECT_API_URL": server.url}
    published.write("params.yaml", published.read("params.yaml").replace("model: x", "model: y"))
    mistake = "variants.a.x: must be 1, got 2; change it"
    published.control("train@a", f"print('error: {mistake}', file=sys.stderr); sys.exit(2)")
    published.control(
        "train@b",
        "extra = 'other'; open('executions').read().count('train@b') > 1 or os.kill(os.getpid(), signal.SIGKILL)",
    )
    failed = published.run("flows.training", "--jobs", "2", "--retries", "1", environment=under)
    assert failed.returncode == 2
    # a fault of the machine is tried again, a mistake of the user's is not
    assert sorted(published.executed()) == ["judge@b", "train@a", "train@b", "train@b"]
    assert failed.stderr.strip().splitlines()[-2:] == [
        "failed: train@a; not run: judge@a, compare, components.register",
        f"error: {mistake}",
    ]
    assert "Traceback" not in failed.stderr and "NoneType" not in failed.stderr
    tasks = server.tasks(failed.stderr)
    assert tasks["train@a"]["state_name"] == "UserError"
    assert (tasks["train@b"]["state_name"], tasks["train@b"]["run_count"]) == ("Completed", 2)

    published.control("train@a", "")
    published.control("register", "print('error: MLFLOW_TRACKING_URI: no answer; start it'); raise SystemExit(2)")
    unpublished = published.run("flows.training", environment=under)
    assert (unpublished.returncode, sorted(published.executed())) == (2, ["compare", "train@a"])
    assert unpublished.stderr.strip().endswith("\nerror: MLFLOW_TRACKING_URI: no answer; start it")

    published.control("register", "")
    assert published.run("flows.training", environment=under).returncode == 0
    assert published.executed() == ["register"]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_nothing_outlives_the_flow(toy: ToyProject, server: Server, number: signal.Signals, code: int) -> None:
    toy.control("ingest", "open('pid', 'w').write(f'{os.getpid()}\\n'); time.sleep(60)")
    own_server = {"PREFECT_HOME": str(server.empty_home)}
    environment = own_server if number == signal.SIGKILL else {"PREFECT_API_URL": server.url}
    # /bin/sh may stay between DVC and the command, where bash makes way for it
    with toy.start("flows.training", environment={**environment, "SHELL": "/bin/sh"}) as flow:
        assert wait_until(lambda: toy.read("pid").endswith("\n"), 120)
        second = toy.run("flows.training")
        assert second.returncode == 2
        holder = f"another flow (process {flow.pid}) runs in this checkout"
        assert second.stderr.startswith(f"error: .work/flow.lock: {holder}")

        family = descendants_of(flow.pid)
        assert toy.read("pid").strip() in family
        assert len(family) >= (3 if number == signal.SIGKILL else 2)  # the stage, its DVC, and the temporary server
        flow.send_signal(number)
        flow.communicate(timeout=60)
    assert flow.returncode == code
    assert wait_until(lambda: not any(map(is_alive, family)), 15)
    toy.control("ingest", "")
    assert toy.run("dvc", "repro", "-q", "ingest").returncode == 0, "DVC's locks were left behind"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--jobs", "0"], "must be a whole number, 1 or more, got '0'"), (["--retries", "x"], "got 'x'")],
)
def test_wrong_options_are_refused(toy: ToyProject, arguments: list[str], message: str) -> None:
    refused = toy.run("flows.training", *arguments)
    assert refused.returncode == 2
    assert message in refused.stderr


def test_a_server_that_does_not_answer_is_named(toy: ToyProject) -> None:
    refused = toy.run("flows.training", environment={"PREFECT_API_URL": "http://127.0.0.1:9/api"})
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: PREFECT_API_URL: no Prefect server answers at http://127.0.0.1:9/api (")
    assert len(refused.stderr.splitlines()) == 1


def test_wrong_params_stop_the_flow_before_anything_is_touched(toy: ToyProject) -> None:
    toy.write("params.yaml", "wrong: 1\nvariants: {}\n")
    toy.write("artifacts/train/b/data", "mine")
    refused = toy.run("flows.training")
    assert (refused.returncode, refused.stderr) == (2, "error: variants.wrong: unknown key; remove it\n")
    assert toy.read("artifacts/train/b/data") == "mine"
    assert not (toy.path / ".prefect").exists()

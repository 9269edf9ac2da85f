"""Faults in small: what `make faults` does at length, with fixed seeds and the cases that are cheap and certain.

Reference: an undisturbed run of the same project; DVC's lock, every file and every registered key must come out equal.
"""

import os
import shutil
import sys
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest
from conftest import run
from prefect_api import running_server
from toy_project import ToyProject

from flows.running.children import Children
from flows.running.graph import open_repo, read_plan
from flows.running.stage import Outcome, run_stage
from tests.faults import corruption, disk, kill, two_flows
from tests.faults.mlflow_server import running_mlflow
from tests.faults.relay import relaying
from tests.faults.result import EQUAL, Result, recall, remember, table
from tests.faults.world import FLOW, REGISTER, Checkout, World, toy_world

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")


@pytest.fixture(scope="module")
def toys(prefect_home: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world of the toy project."""
    return toy_world(tmp_path_factory.mktemp("toys"), prefect_home)


@pytest.fixture
def done(toys: World, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """A finished toy project, the working directory."""
    checkout = toys.unpublished("done")
    monkeypatch.chdir(checkout.path)
    return checkout


def update() -> dict[str, Outcome]:
    """What the flow does, without Prefect: each stage of the plan, until one fails."""
    with open_repo() as repo:
        plan = read_plan(repo, refresh=False)
    outcomes: dict[str, Outcome] = {}
    with Children() as children:
        for name in plan.upstream:
            outcomes[name] = run_stage(children, name, plan.digests[name], print)
            if not outcomes[name].is_well:
                break
    return outcomes


def test_kills_at_random_times_end_in_the_undisturbed_result(toys: World) -> None:
    results = list(kill.provoke(toys, Random(3)))
    assert results and {result.continued for result in results} == {EQUAL}
    assert "PROCESSES LEFT" not in {result.ended for result in results}


def test_two_flows_at_once_leave_what_one_does(toys: World) -> None:
    (result,) = two_flows.provoke(toys, Random(0), (two_flows.FLOWS,))
    refused = "exit code 2: `error: .work/flow.lock: another flow (process N) runs in this checkout"
    assert result.is_well and result.ended.startswith(refused) and result.ended.endswith("finished")


@pytest.mark.parametrize("spoil", [corruption.only_cached, corruption.linked])
def test_a_damaged_file_of_the_cache_is_made_again(toys: World, done: Checkout, spoil: object) -> None:
    spoil("artifacts/prepare/data")(done.path, Random(0))
    assert set(update()) == {"prepare", *(f"{stage}@{v}" for stage in ("train", "judge") for v in "ab"), "compare"}
    assert (done.digests(), done.lock()) == (toys.undisturbed.artifacts, toys.undisturbed.lock)


def test_a_list_of_locks_cut_short_stops_nothing(toys: World, done: Checkout) -> None:
    Path(".dvc/tmp/rwlock").write_text('{"write": {"artifacts/tr')
    Path("artifacts/compare/data").unlink()
    assert [outcome.kind for outcome in update().values()] == ["ran"]
    assert done.digests() == toys.undisturbed.artifacts


@pytest.mark.parametrize(
    "text", ["", "stages: [", "schema: '2.0'\nstages:\n  ingest:\n    cmd: python\n    outs:\n    - pa"]
)
def test_a_damaged_lock_is_named_and_what_was_done_is_in_the_cache(toys: World, done: Checkout, text: str) -> None:
    Path("dvc.lock").write_text(text)
    refused = run(sys.executable, "-m", "flows.training", cwd=done.path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: dvc.lock: ") and refused.stderr.count("\n") == 1
    assert "restore it from git, or delete it" in refused.stderr
    Path("dvc.lock").unlink()
    ToyProject(done.path).executed()
    update()
    assert ToyProject(done.path).executed() == ["ingest"]  # whose source is outside: DVC keeps no run of it
    assert (done.lock()["stages"], done.digests()) == (toys.undisturbed.lock["stages"], toys.undisturbed.artifacts)


FILL_AT_THE_END = """
def fill():
    space = os.statvfs(".")
    with open("ballast", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_frsize)
__import__("atexit").register(fill)
"""


def test_a_disk_that_is_full_for_dvc_is_one_line_and_spoils_nothing(
    toys: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid():
        pytest.skip("mounting a small disk needs root")
    with disk.small_disk(toys.folder / "small", 8) as folder:
        shutil.copytree(toys.template, folder, symlinks=True, dirs_exist_ok=True)
        monkeypatch.chdir(folder)
        toy, checkout = ToyProject(folder), Checkout(folder)
        toy.control("prepare", FILL_AT_THE_END)
        outcomes = update()
        assert outcomes["ingest"].kind == "ran"
        assert outcomes["prepare"].kind == "user_error" and "the disk is full; free some" in outcomes["prepare"].detail
        assert list(checkout.lock()["stages"]) == ["ingest"]
        toy.control("prepare", "")
        (folder / "ballast").unlink()
        update()
        assert (checkout.digests(), checkout.torn(toys.undisturbed)) == (toys.undisturbed.artifacts, [])
        monkeypatch.chdir(toys.folder)


def test_a_prefect_server_that_breaks_on_the_way_is_one_line(toys: World) -> None:
    home = shutil.copytree(toys.undisturbed_path / ".prefect", toys.folder / "home")
    checkout = toys.fresh("prefect")
    with running_server(home) as url, relaying(urlsplit(url).port) as relay:
        here = {"PREFECT_API_URL": f"http://127.0.0.1:{relay.port}/api"}
        relay.spoil("500", first=20)
        ending = checkout.run(*FLOW, **here)
        assert relay.spoiled and ending.code == 2 and "Traceback" not in ending.said
        assert ending.line.startswith(f"error: {here['PREFECT_API_URL']}: Prefect's server failed on the way (")
        relay.mend()
        assert checkout.run(*FLOW, **here).code == 0
    assert checkout.state().compare(toys.undisturbed) == EQUAL


def test_an_mlflow_server_that_answers_500_half_way_gets_one_version(checkout: Path) -> None:
    with running_mlflow(checkout.parent) as port, relaying(port) as relay:
        there = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{relay.port}"}
        place = Checkout(checkout, there)
        relay.spoil("500", first=25)
        ending = place.run(*REGISTER)
        assert relay.spoiled and ending.code == 2 and ending.said.count("\n") == 1
        assert ending.said.startswith(f"error: {there['MLFLOW_TRACKING_URI']}: the tracking store failed (")
        relay.mend()
        assert place.run(*REGISTER).code == 0
    state = place.state(Path("../mlflow.db"))
    assert len(state.versions) == 1 and len(set(state.runs)) == len(state.runs) == 4


def test_the_table_counts_what_happened(tmp_path: Path) -> None:
    kills = [Result("kill", "train", "died", EQUAL)] * 2 + [Result("kill", "export", "died | badly", "differs: lock")]
    remember(tmp_path / "results", "a", kills[:1])
    remember(tmp_path / "results", "b", kills[1:])
    assert recall(tmp_path / "results") == list(zip("abb", kills, strict=True))
    assert table(kills).splitlines()[2:] == [
        "| kill | export | 1 | died / badly | differs: lock |",
        f"| kill | train | 2 | died | {EQUAL} |",
    ]

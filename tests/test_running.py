"""The mechanics of the flows keep their promises: order, limits, slots, outcomes, and no process left behind.

Reference: the kernel (processes, locks) and DVC itself on the toy project; nothing here needs Prefect.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from toy_project import ToyProject, is_alive, wait_until

from components.checkout.lock import one_flow
from components.runtime.errors import UserError
from flows.running.children import Children, Stopped
from flows.running.graph import Plan, open_repo, read_plan
from flows.running.slots import Slots, visible_devices
from flows.running.stage import Outcome, run_module, run_stage
from flows.running.validation import checking_params
from flows.running.walk import walk

# DVC's own graph code, which warns about itself when it runs in the process of the tests
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")
DIAMOND = {"top": (), "left": ("top",), "right": ("top",), "deep": ("left",), "bottom": ("deep", "right")}


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ToyProject:
    monkeypatch.chdir(tmp_path)
    return ToyProject(tmp_path)


@pytest.fixture
def children() -> Iterator[Children]:
    with Children() as running:
        yield running


def plan(refresh: bool = False) -> Plan:
    with open_repo() as repo:
        return read_plan(repo, refresh)


@pytest.mark.parametrize("jobs", [1, 2, 8])
def test_walk_starts_nothing_before_its_upstream_and_no_more_than_jobs(jobs: int) -> None:
    done: list[str] = []
    running: set[str] = set()
    both = threading.Barrier(min(jobs, 2))

    def visit(name: str) -> bool:
        assert set(DIAMOND[name]) <= set(done)
        running.add(name)
        assert len(running) <= jobs
        if name in ("left", "right"):
            both.wait(10)  # breaks unless both run at once
        running.remove(name)
        done.append(name)
        return True

    with ThreadPoolExecutor() as pool:
        walk(DIAMOND, jobs, lambda name: pool.submit(visit, name), lambda _, future: future.result())
    assert sorted(done) == sorted(DIAMOND)


def test_walk_leaves_out_what_stands_behind_a_failure_and_nothing_else() -> None:
    visited = []

    def submit(name: str) -> "Future[bool]":
        visited.append(name)
        done: Future[bool] = Future()
        done.set_result(name != "left")
        return done

    walk(DIAMOND, 4, submit, lambda _, future: future.result())
    assert sorted(visited) == ["left", "right", "top"]
    assert Plan(DIAMOND, {}, frozenset(), {}, {}, frozenset(), {}, {}, 5).downstream({"left"}) == ["deep", "bottom"]


def test_slots_give_each_place_once_and_wait_for_a_free_one() -> None:
    slots, held, crowded = Slots(["0", "GPU-7"], per_gpu=2), [], []

    def work(_: int) -> None:
        with slots.take() as environment:
            held.append(environment["CUDA_VISIBLE_DEVICES"])
            crowded.append(max(held.count("0"), held.count("GPU-7")))
            time.sleep(0.01)
            held.remove(environment["CUDA_VISIBLE_DEVICES"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(24)))
    assert max(crowded) == 2
    with Slots([]).take() as environment:
        assert environment == {}


def test_devices_are_those_of_the_environment_then_those_of_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given, expected in {"2,GPU-x": ["2", "GPU-x"], "": [], "-1": [], "0,-1,1": ["0"]}.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
        assert visible_devices() == expected
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_devices() == []
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H200 (UUID: GPU-1)'\necho '  MIG 1g Device 0: (UUID: MIG-1)'\n")
    driver.chmod(0o755)
    assert visible_devices() == ["0"]
    monkeypatch.setenv("HOURGLASS_DEVICE", "cpu")
    assert visible_devices() == []


SLEEPER = "import os, subprocess, sys, time; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"


def test_a_time_limit_ends_the_child_and_what_it_started(children: Children) -> None:
    lines: list[str] = []
    with pytest.raises(subprocess.TimeoutExpired):
        children.run([sys.executable, "-c", SLEEPER], lines.append, timeout=1)
    assert wait_until(lambda: not is_alive(int(lines[0])))


def test_stopping_ends_running_children_and_refuses_new_ones() -> None:
    lines: list[str] = []
    children = Children()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(children.run, [sys.executable, "-c", SLEEPER], lines.append)
        assert wait_until(lambda: lines)
        children.stop()
        with pytest.raises(Stopped):
            running.result(timeout=10)
    assert not is_alive(int(lines[0]))
    with pytest.raises(Stopped):
        children.run(["true"], lines.append)


def test_a_child_that_leaves_processes_behind_does_not_hold_up_the_flow(children: Children) -> None:
    lines: list[str] = []
    begun = time.monotonic()
    assert children.run(["sh", "-c", "sleep 60 & echo $!"], lines.append) == 0
    assert time.monotonic() - begun < 5
    assert wait_until(lambda: not is_alive(int(lines[0])))


def test_outcomes_of_a_stage_tell_the_users_faults_from_the_machines_and_from_ours(
    toy: ToyProject, children: Children
) -> None:
    def run(control: str, **options: object) -> Outcome:
        toy.control("ingest", control)
        return run_stage(children, "ingest", before, lines.append, **options)

    lines: list[str] = []
    before = plan().digests["ingest"]
    mistake = "print('error: ingest.path: is missing; set it', file=sys.stderr); sys.exit(2)"
    assert run(mistake) == Outcome("user_error", "error: ingest.path: is missing; set it")
    assert run("raise ValueError('odd')") == Outcome("failed", "exit code 1: ValueError: odd")
    killed = run("os.kill(os.getpid(), signal.SIGKILL)")
    assert killed == Outcome("fault", "killed by SIGKILL")
    assert run("time.sleep(60)", timeout=2).kind == "timed_out"
    assert run("os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)").kind == "fault"
    lines.clear()
    assert run("") == Outcome("ran", changed=True)
    assert lines == ["ingest at work"]
    before = plan().digests["ingest"]
    assert run("") == Outcome("unchanged")
    assert run("", force=True) == Outcome("ran", changed=False)
    assert run_module(children, "components.register", lines.append).is_well


def test_the_plan_is_what_dvc_calls_stale_and_all_that_stands_behind_it(toy: ToyProject, children: Children) -> None:
    assert list(plan().upstream) == ["ingest", "prepare", "train@a", "train@b", "judge@a", "judge@b", "compare"]
    subprocess.run([Path(sys.executable).with_name("dvc"), "repro", "-q"], check=True, env=fresh_environment())
    done = plan()
    assert (done.upstream, done.stale, done.forced, done.total) == ({}, {}, frozenset(), 7)
    assert done.in_words() == "all 7 stages are up to date"
    assert plan(refresh=True).forced == {"ingest"}
    toy.write("params.yaml", toy.read("params.yaml").replace("b: {model: x}", "b: {model: y}"))
    changed = plan()
    assert set(changed.stale) == {"train@b", "compare"}
    assert "params.yaml" in changed.stale["train@b"]
    assert changed.upstream == {"train@b": (), "judge@b": ("train@b",), "compare": ("judge@b",)}


def fresh_environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def test_a_second_flow_in_one_checkout_leaves_with_one_line_or_waits(toy: ToyProject) -> None:
    message = rf"another flow \(process {os.getpid()}\) runs in this checkout"
    with one_flow(), pytest.raises(UserError, match=message), one_flow():
        pass
    code = "from components.checkout.lock import one_flow\nwith one_flow(wait=True): print('in')"
    second = [sys.executable, "-c", code]
    with one_flow():
        waiting = subprocess.Popen(second, stdout=subprocess.PIPE, text=True)
        assert waiting.stdout.readline().startswith("waiting: another flow")
        assert waiting.poll() is None
    assert waiting.communicate(timeout=30)[0] == "in\n"


def test_params_are_checked_once_and_their_error_comes_before_what_follows_from_it(toy: ToyProject) -> None:
    with checking_params() as finish_check:
        finish_check()
    stamp = toy.path / ".work/params.checked"
    first = stamp.stat().st_mtime_ns
    with checking_params() as finish_check:
        finish_check()
    assert stamp.stat().st_mtime_ns == first
    toy.write("params.yaml", "wrong: 1\n")
    with pytest.raises(UserError, match=r"^variants.wrong: unknown key; remove it$"), checking_params():
        raise KeyError("DVC's graph could not be read")


@pytest.mark.parametrize(
    ("remove", "message"),
    [(".git", "checkout: is not a git checkout"), (".dvc", "checkout: is not a DVC project")],
)
def test_a_folder_that_is_no_checkout_is_refused(toy: ToyProject, remove: str, message: str) -> None:
    (toy.path / remove).rename(toy.path / "gone")
    with pytest.raises(UserError, match=message):
        plan()


def test_a_broken_graph_is_the_users_and_named(toy: ToyProject) -> None:
    toy.write("dvc.yaml", "stages: {a: {cmd: 'true', dep: [x]}}\n")
    with pytest.raises(UserError, match=r"^dvc.yaml: .*dvc.yaml' validation failed"):
        plan()


def test_children_die_with_a_flow_that_is_killed(toy: ToyProject) -> None:
    toy.control("ingest", "open('pids', 'w').write(f'{os.getpid()} {os.getppid()}'); time.sleep(60)")
    code = "from flows.running import stage, children\nstage.run_stage(children.Children(), 'ingest', {}, print)"
    flow = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, env=fresh_environment())
    assert wait_until(lambda: toy.read("pids"))
    flow.send_signal(signal.SIGKILL)
    flow.wait()
    assert wait_until(lambda: not any(is_alive(int(pid)) for pid in toy.read("pids").split()))
    toy.control("ingest", "")
    with Children() as children:
        assert run_stage(children, "ingest", {}, print) == Outcome("ran", changed=True)

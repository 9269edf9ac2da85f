"""Same commit, same data, same machine: the same bytes in artifacts/, whatever the folder, the door or the order.

Everything runs twice: by `dvc repro` in one folder (the fixture `finished`), and by the flow, side by side and with the
variants in reverse order, in another.
"""

import hashlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY, make_checkout, must, run
from ruamel.yaml import YAML

from components.runtime.outputs import ARTIFACTS

# what an artifact must not hold: a date, a time of day, a path of this machine
TELLTALES = re.compile(rb"20\d\d-[01]\d-[0-3]\d|\b[0-2]\d:[0-5]\d:[0-5]\d\b|/tmp/|/root/|/home/|/work/|site-packages")


def digests(checkout: Path) -> dict[str, str]:
    root = checkout / ARTIFACTS
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def locked_stages(checkout: Path) -> dict[str, Any]:
    return YAML(typ="safe").load(checkout / "dvc.lock")["stages"]


@pytest.fixture(scope="module")
def by_flow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which the flow ran everything and published it."""
    reverse = dict(reversed(TINY["variants"].items()))
    other = make_checkout(tmp_path_factory.mktemp("another-folder"), variants=reverse)
    done = run(sys.executable, "-m", "flows.training", "--jobs", "2", cwd=other)
    assert done.returncode == 0, done.stderr
    assert "hourglass version 1 (vanilla)" in done.stderr
    assert "database is locked" not in done.stderr
    return other


def test_two_folders_two_doors_and_two_orders_leave_the_same_bytes(finished: Path, by_flow: Path) -> None:
    assert digests(by_flow) == digests(finished)


def test_both_doors_leave_an_equal_lock_and_the_flows_is_in_the_order_of_dvc_yaml(
    finished: Path, by_flow: Path
) -> None:
    flow, repro = locked_stages(by_flow), locked_stages(finished)
    assert flow == repro
    entries = {"variants": TINY["variants"], "baselines": TINY["baselines"], "analyse.variants": ()}
    stages = YAML(typ="safe").load(finished / "dvc.yaml")["stages"]
    sizes = {name: len(entries[of["foreach"].strip("${}")]) if "foreach" in of else 1 for name, of in stages.items()}
    assert len(flow) == sum(sizes.values())
    assert [name for name in flow if name.startswith("train@")] == ["train@vanilla", "train@pca"]
    groups = [name.split("@")[0] for name in flow]
    assert list(dict.fromkeys(groups)) == [name for name, size in sizes.items() if size]


def test_a_second_flow_runs_no_stage_and_publishes_nothing(by_flow: Path) -> None:
    before = (by_flow / "mlflow.db").read_bytes()
    said = must(sys.executable, "-m", "flows.training", cwd=by_flow)
    assert said == "nothing to do: every stage is up to date, and what they made is published\n"
    assert (by_flow / "mlflow.db").read_bytes() == before


def test_no_artifact_holds_a_date_or_a_path_of_this_machine(finished: Path) -> None:
    for path in sorted((finished / ARTIFACTS).rglob("*")):
        if path.is_file():
            found = TELLTALES.search(path.read_bytes())
            assert not found, f"{path}: {found and found.group()!r}"


def test_nothing_is_stale_after_a_run(finished: Path) -> None:
    assert must("dvc", "status", cwd=finished).strip() == "Data and pipelines are up to date."


def test_a_run_leaves_git_with_nothing_but_the_lock_and_the_metrics(finished: Path) -> None:
    lines = must("git", "status", "--porcelain", "-uall", cwd=finished).splitlines()
    expected = {"dvc.lock", "artifacts/compare/leaderboard.json"}
    expected |= {f"artifacts/evaluate/{variant}/metrics.json" for variant in TINY["variants"]}
    expected |= {f"artifacts/baseline/{name}/metrics.json" for name in TINY["baselines"]}
    assert {line[3:] for line in lines} == expected

"""Removing a variant leaves no trace, and nothing else goes: the reference is a project that never had the variant."""

import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from toy_project import ToyProject

from flows.running.graph import open_repo
from flows.running.prune import prune, tidy_lock_file

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")  # DVC's, about itself


def repro(toy: ToyProject, *arguments: str) -> None:
    assert toy.run("dvc", "repro", "-q", *arguments).returncode == 0


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ToyProject:
    monkeypatch.chdir(tmp_path)
    return ToyProject(tmp_path)


def test_a_removed_variant_leaves_the_same_checkout_as_one_that_never_was(
    toy: ToyProject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    repro(toy)
    toy.variants("a")
    with open_repo() as repo:
        removed = prune(repo)
    assert removed == ["artifacts/train/b", "artifacts/judge/b", "dvc.lock: train@b", "dvc.lock: judge@b"]
    repro(toy)
    never = ToyProject(tmp_path_factory.mktemp("never"))
    never.variants("a")
    repro(never)
    assert toy.read("dvc.lock") == never.read("dvc.lock")
    assert listing(toy.path / "artifacts") == listing(never.path / "artifacts")


def listing(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_pruning_keeps_what_is_named_what_is_no_folder_and_what_is_no_family(toy: ToyProject) -> None:
    toy.variants("train", "artifacts")  # names that also occur elsewhere in the paths
    repro(toy)
    kept = ("artifacts/train/.gitignore", "artifacts/other/b/data", "artifacts/prepare/b/data", "b/data")
    for name in kept:
        toy.write(name, "mine")
    toy.write("artifacts/train/b/half-written", "")
    before = listing(toy.path / "artifacts")
    with open_repo() as repo:
        assert prune(repo) == ["artifacts/train/b"]
        assert prune(repo) == []
    del before["train/b/half-written"]
    assert listing(toy.path / "artifacts") == before


def test_the_lock_file_has_the_order_of_the_graph_whatever_finished_first(toy: ToyProject) -> None:
    repro(toy)
    in_order = toy.read("dvc.lock")
    content = YAML(typ="safe").load(in_order)
    content["stages"] = dict(reversed(content["stages"].items()))
    with (toy.path / "dvc.lock").open("w") as file:
        YAML().dump(content, file)
    with open_repo() as repo:
        assert tidy_lock_file(repo) == []
    assert toy.read("dvc.lock") == in_order
    assert toy.run("dvc", "status", "-q").returncode == 0


def test_pruning_is_a_command_of_its_own(toy: ToyProject) -> None:
    toy.write("artifacts/judge/gone/data", "old")
    assert toy.run("flows.running.prune").stdout == "removed artifacts/judge/gone\n"
    assert toy.run("flows.running.prune").stdout == "nothing to remove\n"
    outside = subprocess.run(
        [sys.executable, "-m", "flows.running.prune"], cwd=toy.path / "flows", capture_output=True, text=True,
        env={"PYTHONPATH": str(toy.path)},
    )  # fmt: skip
    assert outside.returncode == 2
    assert outside.stderr.startswith("error: checkout: ")

"""A version is made again from what it says of itself; where it comes out other, the cause is named.

References: the digests in dvc.lock as DVC wrote them, the list of stages that really ran, and numbers shifted by hand.
"""

import json
import re
import shutil
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, built_once, must, run
from publications import MLFLOWS_OWN, NAME, empty_store
from rebuildable import Rebuildable
from ruamel.yaml import YAML
from safetensors.numpy import save_file

from components.checkout.lock import if_free
from components.publishing.dvc_lock import dvc_md5
from components.publishing.version import SCORER_DIGEST
from components.reproduce import Answer, reproduce, summary
from components.reproducing.closeness import largest_difference
from components.runtime.errors import UserError

pytestmark = [pytest.mark.filterwarnings(warning) for warning in MLFLOWS_OWN]
CHAIN = ["prepare", "train@a", "threshold@a", "evaluate@a", "export@a", "compress@a"]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with version 1, which is champion; read only."""

    def build(target: Path) -> None:
        project = Rebuildable(target)
        project.run()
        project.register("champion")

    return built_once(tmp_path_factory, "rebuildable", build)


@pytest.fixture
def project(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rebuildable:
    """A private copy as working directory; its source is gone."""
    copy = Rebuildable(built).copied(tmp_path / "project")
    monkeypatch.chdir(copy.path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("EXECUTED", str(tmp_path / "executed"))
    return copy


def executed(project: Rebuildable) -> list[str]:
    """The stages that ran."""
    note = project.path.with_name("executed")
    return note.read_text().split() if note.exists() else []


def causes(answer: Answer) -> dict[str, str]:
    return {cause.code: f"{cause.verdict}: {cause.text}" for cause in answer.causes}


def other(answer: Answer) -> dict[str, str]:
    """Files that are not equal, and how far apart they are."""
    return {file.path: file.difference for file in answer.files if not file.is_equal}


def lose_data(project: Rebuildable) -> None:
    """Take what `ingest` made out of the cache."""
    stages = YAML(typ="safe").load(project.path / "dvc.lock")["stages"]
    folder = project.path / ".dvc/cache/files/md5"
    listing = stages["ingest"]["outs"][0]["md5"]
    for md5 in (json.loads((folder / listing[:2] / listing[2:]).read_text())[0]["md5"], listing):
        (folder / md5[:2] / md5[2:]).unlink()


def test_every_stage_runs_again_and_every_file_is_equal_whatever_the_libraries(project: Rebuildable) -> None:
    before = {path: path.stat().st_mtime_ns for path in (project.path / "artifacts").rglob("*")}
    lock = project.provenance("1", "requirements.lock")
    lock.write_text(re.sub(r"^numpy==\S+", "numpy==1.0.1", lock.read_text(), flags=re.MULTILINE))
    project.write(f".work/reproduce/{NAME}-1/artifacts/prepare/numbers.json", "{}")  # of a run that was killed
    command = (sys.executable, "-m", "components.reproduce", f"models:/{NAME}/1", "--json", "answer.json")
    done = run(*command, cwd=project.path, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    answer = json.loads((project.path / "answer.json").read_text())
    assert executed(project) == CHAIN  # not `ingest`: its source is gone, DVC's cache has what it brought
    assert answer["is_equal"] and len(answer["files"]) == 11
    made = {file["path"]: file["rebuilt"] for file in answer["files"]}
    assert made["artifacts/evaluate/a/scores.csv"] == dvc_md5(project.path / "artifacts/evaluate/a/scores.csv")
    assert [file["path"] for file in answer["files"] if file["is_given"]] == ["artifacts/ingest/numbers.json"]
    last = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"equal +hourglass/1 \(a, commit \w{12}\): 10 files made again, .* same bytes", last)
    assert f"numpy 1.0.1 is locked, {np.__version__} is installed (installing them is left to you" in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in (project.path / "artifacts").rglob("*")}
    assert must("git", "worktree", "list", cwd=project.path).count("\n") == 1
    assert not list(project.path.glob(".work/reproduce/*/"))


def test_what_comes_out_other_is_told_with_the_largest_difference_of_each_file(
    project: Rebuildable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOISE", "0.5")
    answer = reproduce(f"{NAME}@champion", keep=True)
    assert not answer.is_equal
    assert other(answer)["artifacts/evaluate/a/scores.csv"] == "largest difference 0.5 (score)"
    assert other(answer)["artifacts/train/a/numbers.json"] == "largest difference 0.5 (value)"
    assert not {"artifacts/prepare/numbers.json", "artifacts/ingest/numbers.json"} & other(answer).keys()
    assert {cause.verdict for cause in answer.causes} == {"same"}
    *_, verdict, kept = summary(answer).splitlines()
    assert verdict.startswith(f"NOT EQUAL   {NAME}/1 (a, commit ")
    assert verdict.endswith(": 9 of 11 files, although nothing that is known of has changed")
    assert kept == f"kept        {answer.tree}" and Path(str(answer.tree), "artifacts/train/a/numbers.json").exists()


def test_a_tampered_record_and_another_machine_are_named(project: Rebuildable) -> None:
    path = project.provenance("1", "dvc.lock")
    stages = YAML(typ="safe").load(path)["stages"]
    scores = next(out["md5"] for out in stages["evaluate@a"]["outs"] if out["path"].endswith("scores.csv"))
    path.write_text(path.read_text().replace(scores, "f" * 32))
    version = project.client.get_model_version(NAME, "1")
    project.client.set_tag(version.run_id, "hourglass.cpu", "another processor")
    project.client.set_model_version_tag(NAME, "1", SCORER_DIGEST, "f" * 64)
    answer = reproduce(f"{NAME}/1")
    assert set(other(answer)) == {"artifacts/evaluate/a/scores.csv", f"models:/{NAME}/1: scorer.onnx"}
    assert causes(answer)["record"].startswith("differs: the version's dvc.lock is not the file")
    assert causes(answer)["hardware"].startswith("differs: cpu: another processor then, ")
    assert summary(answer).endswith("2 of 11 files, because of: record, hardware")


def test_data_that_is_gone_stops_the_rebuild(project: Rebuildable) -> None:
    lose_data(project)
    answer = reproduce(f"{NAME}/1")
    assert causes(answer)["data"].startswith(
        "differs: artifacts/ingest/ is gone: in no cache and no remote, and its source does not have it any more"
    )
    assert causes(answer)["stages"].startswith("differs: error: ingest.path: is missing; bring it back")
    assert not answer.is_equal and {file.rebuilt for file in answer.files} == {None}


def test_data_that_its_source_has_no_more_as_it_was(project: Rebuildable, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_data(project)
    project.write("source.json", '{"value": 4}')
    monkeypatch.setenv("SOURCE", str(project.path / "source.json"))
    answer = reproduce(f"{NAME}/1")
    assert causes(answer)["data"].startswith("differs: the source has changed, and neither cache nor remote has what")
    assert executed(project) == ["ingest", *CHAIN] and not answer.is_equal


def test_data_comes_from_a_remote_where_the_cache_has_lost_it(project: Rebuildable) -> None:
    # relative, as people write it: to the checkout, not to the work tree
    must("dvc", "remote", "add", "-q", "-d", "backup", "../remote", cwd=project.path)
    must("dvc", "push", "-q", cwd=project.path)
    lose_data(project)
    answer = reproduce(f"{NAME}/1")
    assert answer.is_equal and causes(answer)["data"] == "same: what the first stages brought in then"


def test_uncommitted_code_and_foreign_params_are_named_and_data_is_fetched_again(
    project: Rebuildable, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("step.py", project.path.joinpath("step.py").read_text().replace("value + 1", "value + 2"))
    project.run()
    number = project.register(**{"hourglass.dirty": "true"})
    params = project.provenance(number, "params.yaml")
    params.write_text(json.dumps({**json.loads(params.read_text()), "seed": 3}))
    lose_data(project)
    monkeypatch.setenv("SOURCE", str(project.path / "source.json"))
    answer = reproduce(f"{NAME}/{number}")
    assert other(answer)["artifacts/prepare/numbers.json"] == "largest difference 2 (value)"
    found = causes(answer)
    assert found["params"] == "differs: the version's params.yaml has other values than its dvc.lock: seed"
    assert found["code"].endswith(
        "has other files than the version was made with, it was registered from uncommitted code: step.py"
    )
    assert found["data"] == "same: brought from its source anew, and the same as then"


def refused(project: Rebuildable, version: str, **environment: str) -> str:
    """The one line of a command that ends with exit code 2."""
    command = (sys.executable, "-m", "components.reproduce", version)
    done = run(*command, cwd=project.path, PYTHONPATH=str(ROOT), **environment)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    return done.stderr


def test_what_is_not_there_is_refused_in_one_line(project: Rebuildable, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{closed.getsockname()[1]}"
    assert f"error: {uri}: the tracking server is away" in refused(project, f"{NAME}/1", MLFLOW_TRACKING_URI=uri)
    with pytest.raises(UserError, match=r"unknown version of hourglass '7'; known: 1"):
        reproduce(f"models:/{NAME}/7")
    with pytest.raises(UserError, match=r"unknown alias of hourglass 'champoin'; did you mean 'champion'"):
        reproduce(f"{NAME}@champoin")
    with pytest.raises(UserError, match="'seven' names no version; write NAME@champion"):
        reproduce("seven")
    with if_free(Path(f".work/reproduce/{NAME}-1.lock")), pytest.raises(UserError, match="by another process"):
        reproduce(f"{NAME}/1")
    project.client.set_model_version_tag(NAME, "1", "hourglass.variant", "b")
    with pytest.raises(UserError, match=r"models:/hourglass/1: its dvc\.lock has no stage of its variant 'b'"):
        reproduce(f"{NAME}/1")
    project.client.set_model_version_tag(NAME, "1", "hourglass.variant", "a")
    project.client.set_model_version_tag(NAME, "1", "hourglass.commit", "ab" * 20)
    with pytest.raises(UserError, match=r"commit abababababab: is not in this clone; `git fetch origin (ab){20}`"):
        reproduce(f"{NAME}/1")
    project.provenance("1", "dvc.lock").unlink()
    with pytest.raises(UserError, match=r"models:/hourglass/1: provenance/dvc.lock is missing; restore its files"):
        reproduce(f"{NAME}/1")
    project.client.delete_model_version_tag(NAME, "1", "hourglass.variant")
    with pytest.raises(UserError, match="does not say which commit and variant it was made of"):
        reproduce(f"{NAME}/1")
    Path("mlflow.db").unlink()
    with pytest.raises(UserError, match=r"mlflow\.db: is missing, nothing is registered here"):
        reproduce(f"{NAME}/1")
    assert not Path("mlflow.db").exists() and not list(Path(".work/reproduce").glob("*/"))


def test_a_version_of_digits_comes_out_byte_for_byte(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shutil.copytree(finished, tmp_path / "checkout", symlinks=True))
    Path("mlflow.db").write_bytes(empty_store())
    must(sys.executable, "-m", "components.register", cwd=Path.cwd())
    answer = reproduce(f"{NAME}@challenger")
    assert answer.is_equal and len(answer.files) > 40, summary(answer)
    # libraries are what this environment makes of requirements.lock, and say nothing about the code
    verdicts = {cause.code: cause.verdict for cause in answer.causes if cause.code != "libraries"}
    assert verdicts == dict.fromkeys(("record", "data", "code", "params", "hardware"), "same")


def test_closeness_reads_what_holds_numbers(tmp_path: Path) -> None:
    one, more = tmp_path / "cached", tmp_path / "a.npy"  # DVC's cache knows no suffix
    with one.open("wb") as stream:
        np.save(stream, np.array([1.0, np.nan, 3.0], np.float32))
    np.save(more, np.array([1.0, np.nan, 3.25], np.float32))
    assert largest_difference(one, more) == "largest difference 0.25"
    np.save(more, np.array([1.0, 2.0, 3.0], np.float32))
    assert largest_difference(one, more) == "largest difference inf"
    np.save(more, np.zeros(2, np.float32))
    assert largest_difference(one, more) == "has other names or shapes"
    save_file({"w": np.zeros(2, np.float32), "b": np.ones(2, np.float32)}, one)
    save_file({"w": np.zeros(2, np.float32), "b": np.full(2, 1.5, np.float32)}, tmp_path / "a.safetensors")
    assert largest_difference(one, tmp_path / "a.safetensors") == "largest difference 0.5 (b)"
    one.write_text('{"a": [1, {"b": true}], "c": "x"}')
    (tmp_path / "a.json").write_text('{"a": [1, {"b": true}], "c": "y"}')
    assert largest_difference(one, tmp_path / "a.json") == "every number is equal"
    assert largest_difference(one, tmp_path / "a.onnx") == ""
    assert largest_difference(one, tmp_path / "a.npy") == "cannot be read"

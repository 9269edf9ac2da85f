"""What the policy lets go is gone for good, and every version that stays loads, serves and is made again.

References: NumPy's scores of a made model, digests of every file before and after, and the digests that the versions'
own dvc.lock files name.
"""

import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
from conftest import ROOT, built_once, must, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_versions import draw, enter_registry, make_images, scores_of
from publications import MLFLOWS_OWN, NAME
from rebuildable import Rebuildable
from ruamel.yaml import YAML
from serving import ask, serving

from components.checkout.lock import if_free, one_flow
from components.params import load_section
from components.params.retain import Params
from components.publishing.chosen import Chosen
from components.publishing.key import note_published
from components.publishing.version import write_model
from components.reproduce import reproduce
from components.retain import retain, summary
from components.retaining.versions import Version, superfluous
from components.runtime.errors import UserError

pytestmark = [pytest.mark.filterwarnings(warning) for warning in MLFLOWS_OWN]
KINDS = ("runs", "cache", "checkpoints", "scores", "pages", "leftovers")
HARSHEST = Params(keep_versions=1, **{f"keep_{kind}_days": 1 for kind in KINDS})
OLD = time.time() - 40 * 86_400
STAYING = {"2", "3", "4"}


def age(*paths: Path) -> None:
    """Let files and folders be of last month."""
    for path in paths:
        for each in (path, *path.rglob("*")):
            os.utime(each, (OLD, OLD))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after a year; read only."""
    return built_once(tmp_path_factory, "a_year", live_a_year)


def live_a_year(target: Path) -> None:
    """Versions 1 to 4, of which 3 leads and replaced 2, results that were never registered, and leftovers."""
    project, model = Rebuildable(target), made_model(target.with_name(f"{target.name}.model"))
    leading = ("champion", {"hourglass.previous_champion": "2"})
    for late, (alias, tags) in enumerate([(None, {}), (None, {}), leading, (None, {})]):
        project.params(late=late)
        project.run()
        project.register(alias, model, **tags)
    for seed in (8, 9):  # of the first, nothing will be left that names it
        project.params(seed=seed)
        project.run()
    leave_behind(project)


def made_model(folder: Path) -> Path:
    """A model that can be loaded, whose scores NumPy can repeat."""
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        enter_registry(folder)
        write_model(folder / "model", Chosen(make_images(Path("artifacts"))))
    return folder / "model"


def leave_behind(project: Rebuildable) -> None:
    """Old runs, files of interrupted work, answers and pages; of each a young one too."""
    client = project.client
    experiment = client.get_experiment_by_name(NAME).experiment_id
    for name, moment in (("young", time.time()), ("old", OLD), ("deleted", OLD)):
        made = client.create_run(experiment, start_time=int(moment * 1000), run_name=name)
        client.log_text(made.info.run_id, name, "note.txt")
        client.set_terminated(made.info.run_id, end_time=int(moment * 1000))
        if name == "deleted":
            client.delete_run(made.info.run_id)
    parent = client.create_run(experiment, start_time=int(OLD * 1000), run_name="pipeline")
    for version in client.search_model_versions(f"name = '{NAME}'"):
        client.set_tag(version.run_id, "mlflow.parentRunId", parent.info.run_id)
        client.set_terminated(version.run_id, end_time=int(OLD * 1000))
    client.delete_run(client.get_model_version(NAME, "2").run_id)  # by a person, who did not know
    for age_of in ("young", "old"):
        for name in (
            f".work/train/{age_of}/key/checkpoint",
            f".work/seeds/7/{age_of}/key/checkpoint",
            f".work/tmp/publish-{age_of}/file",
            f".work/reproduce/{NAME}-{age_of}/dvc.yaml",
            f"scores/{age_of}/manifest.json",
            f"scores/.{age_of}.scoring/part.parquet",
        ):
            project.write(name, age_of)
    project.write("scores/versioned/manifest.json", "old")
    project.write("scores/versioned.dvc", "old")
    project.write("scores/mine/notes.txt", "old")
    for number in ("1", "3", "4", "77"):
        project.write(f".monitoring/{NAME}/{number}/report/monitoring.html", "old")
        project.write(f".monitoring/{NAME}/{number}/memory.safetensors", "old")
    root = project.path
    age(
        *root.glob(".work/*/*old"), *root.glob(".work/seeds/7/old"), *root.glob("scores/*"), *root.glob(".monitoring/*")
    )
    age(root / ".dvc/cache")
    for young in ("scores/young", "scores/.young.scoring"):
        os.utime(next((root / young).iterdir()))


@pytest.fixture
def project(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rebuildable:
    """A private copy as working directory."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    copy = Rebuildable(built).copied(tmp_path / "project")
    monkeypatch.chdir(copy.path)
    return copy


def everything() -> dict[str, tuple[int, float]]:
    """Size and time of every file, without the locks of processes and DVC's memory."""
    files = (str(path) for path in Path().rglob("*") if path.is_file())
    kept = (path for path in files if not re.search(r"^\.(work|monitoring)/.*lock$|^\.dvc/tmp/|-journal$", path))
    return {path: (Path(path).stat().st_size, Path(path).stat().st_mtime) for path in kept}


def objects() -> set[str]:
    """Digests in DVC's cache."""
    return {path.parent.name + path.name for path in Path(".dvc/cache/files/md5").rglob("*") if path.is_file()}


def named_by(locks: Iterable[Path]) -> set[str]:
    """Digests of all outputs that DVC caches in these dvc.lock files, those of folders with their files."""
    found = set()
    for lock in locks:
        for stage in YAML(typ="safe").load(lock)["stages"].values():
            for out in stage["outs"]:
                if not out["path"].endswith("metrics.json"):
                    found.add(out["md5"])
    for listing in [md5 for md5 in found if md5.endswith(".dir")]:
        entries = json.loads((Path(".dvc/cache/files/md5") / listing[:2] / listing[2:]).read_text())
        found |= {entry["md5"] for entry in entries}
    return found


def version_files(project: Rebuildable) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Each version and the files that are it."""
    for version in project.client.search_model_versions(f"name = '{NAME}'"):
        root = Path(version.source.removeprefix("file://"))
        files = {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        yield str(version.version), files


def test_under_the_harshest_policy_every_version_loads_serves_and_is_made_again(
    project: Rebuildable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = everything()
    listed = retain(HARSHEST, NAME)
    assert everything() == before
    assert retain(HARSHEST, NAME, apply=True) == listed
    assert retain(HARSHEST, NAME, apply=True) == []
    client = project.client
    assert {str(version.version) for version in client.search_model_versions(f"name = '{NAME}'")} == STAYING
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.path}/mlflow.db")
    images = draw(5, 1)
    for number in STAYING:
        answer = mlflow.pyfunc.load_model(f"models:/{NAME}/{number}").predict(images)
        np.testing.assert_allclose(answer["score"], scores_of(images), rtol=1e-5)
        again = reproduce(f"{NAME}/{number}")
        assert again.is_equal and len(again.files) == 10, again.causes
    champion = Path(client.get_model_version_by_alias(NAME, "champion").source.removeprefix("file://"))
    with serving(champion, tmp_path / "log") as url:
        np.testing.assert_allclose(ask(url, {"inputs": images.tolist()})["score"], scores_of(images), rtol=1e-5)


def test_all_that_nothing_needs_is_gone_and_nothing_else(project: Rebuildable) -> None:
    sizes, files = sum(size for size, _ in everything().values()), dict(version_files(project))
    locks = [project.provenance(number, "dvc.lock") for number in STAYING]
    needed = named_by([*locks, Path("dvc.lock")])
    assert needed < objects()
    went = retain(HARSHEST, NAME, apply=True)
    assert objects() == needed
    assert dict(version_files(project)) == {number: of for number, of in files.items() if number in STAYING}
    left = {run.info.run_name for run in project.client.search_runs(["1"], run_view_type=3)}
    assert {"young", "pipeline"} < left and not {"old", "deleted"} & left and len(left) == 5  # and three versions'
    found = {kind: {item.name for item in went if item.kind == kind} for kind in dict.fromkeys(i.kind for i in went)}
    assert found["versions"] == {f"{NAME}/1"}
    assert found["checkpoints"] == {".work/train/old/key", ".work/seeds/7/old/key"}
    assert found["scores"] == {"scores/old"}
    monitored = Path(".monitoring") / NAME
    assert found["pages"] == {str(monitored / "1"), str(monitored / "4/report"), str(monitored / "77")}
    assert found["leftovers"] == {"scores/.old.scoring", f".work/reproduce/{NAME}-old", ".work/tmp/publish-old"}
    for name in set().union(*found.values()):
        assert not Path(name).exists()
    assert not Path(".work/train/old").exists() and not Path(".work/seeds/7/old").exists()
    for kept in ("scores/young", "scores/versioned", "scores/mine", ".work/train/young/key", monitored / "4"):
        assert Path(kept).exists()
    assert sizes - sum(size for size, _ in everything().values()) == sum(item.size for item in went)


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    policy=st.builds(
        Params,
        keep_versions=st.none() | st.integers(1, 3),
        **{f"keep_{kind}_days": st.none() | st.sampled_from([1, 30, 60]) for kind in KINDS},
    )
)
def test_no_policy_takes_what_a_version_needs(built: Path, tmp_path: Path, policy: Params) -> None:
    copy = Rebuildable(built).copied(tmp_path / f"copy-{time.monotonic_ns()}")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(copy.path)
        files, aliases = dict(version_files(copy)), copy.client.get_registered_model(NAME).aliases
        retain(policy, NAME, apply=True)
        left = dict(version_files(copy))
        assert left.keys() >= STAYING and left == {number: files[number] for number in left}
        assert named_by(copy.provenance(number, "dvc.lock") for number in left) <= objects()
        assert copy.client.get_registered_model(NAME).aliases == aliases
        assert retain(policy, NAME) == []


@given(
    aliased=st.sets(st.integers(1, 12)),
    replaced=st.integers(1, 12),
    keep=st.none() | st.integers(1, 12),
    count=st.integers(0, 12),
)
def test_no_version_goes_that_has_an_alias_or_that_a_rollback_goes_to(
    aliased: set[int], replaced: int, keep: int | None, count: int
) -> None:
    champion = max(aliased, default=0)
    versions = [
        Version("m", str(n), "r", ("champion",) * (n == champion) or ("a",) * (n in aliased), "c", str(replaced))
        for n in range(count, 0, -1)
    ]
    other = Version("other", "1", "r", (), "c", "")
    gone = [int(version.number) for version in superfluous([*versions, other], "m", keep)]
    free = [n for n in range(count, 0, -1) if n not in aliased and not (n == replaced and 0 < champion <= count)]
    assert gone == ([] if keep is None else free[keep:])


def test_what_a_process_works_in_stays(project: Rebuildable) -> None:
    from components.bulk.workplace import lock_of

    with if_free(lock_of(Path("scores/old"))), if_free(Path(f".work/reproduce/{NAME}-old.lock")):
        retain(HARSHEST, NAME, apply=True)
        assert Path("scores/.old.scoring").exists() and Path("scores/old").exists()
        assert Path(f".work/reproduce/{NAME}-old").exists()


def test_it_never_runs_beside_a_flow_and_says_little(project: Rebuildable) -> None:
    command = (sys.executable, "-m", "components.retain")
    Path("params.yaml").write_text(
        json.dumps({**json.loads(Path("params.yaml").read_text()), "retain": HARSHEST.model_dump()})
    )
    with one_flow():
        done = run(*command, "--apply", cwd=project.path, PYTHONPATH=str(ROOT))
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: .work/flow.lock: another flow (process ")
    listed = summary(retain(HARSHEST, NAME), apply=False).splitlines()
    why = "no alias, and newer ones are enough"
    assert listed[0].split(maxsplit=4) == ["versions", f"{NAME}/1", "0", "bytes", why]
    assert listed[-1].endswith("would go, nothing was removed: `python -m components.retain --apply` does it")
    done = run(*command, "--apply", cwd=project.path, PYTHONPATH=str(ROOT))
    assert done.stdout.startswith("removed     versions 1 (0 bytes), runs 3 (") and done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert summary(retain(HARSHEST, NAME), apply=True) == "nothing to remove"


def test_nothing_goes_where_it_cannot_be_told_what_is_needed(
    project: Rebuildable, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything()
    lock = project.provenance("3", "dvc.lock")
    lock.rename(lock.with_name("away"))
    with pytest.raises(UserError, match=r"models:/hourglass/3: its dvc\.lock cannot be read .*; restore its files or"):
        retain(HARSHEST, NAME, apply=True)
    lock.with_name("away").rename(lock)
    note_published("key", {})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///elsewhere.db")
    with pytest.raises(UserError, match=r"were last registered in sqlite:///mlflow\.db, which is gone or not asked"):
        retain(HARSHEST, NAME, apply=True)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    Path("mlflow.db").rename("away.db")
    with pytest.raises(UserError, match="which is gone or not asked"):
        retain(HARSHEST, NAME, apply=True)
    Path("away.db").rename("mlflow.db")
    Path(".work/published.json").unlink()
    assert everything() == before


def test_a_shared_cache_is_left_alone(project: Rebuildable) -> None:
    Path(".dvc/cache").rename(project.path.with_name("shared"))
    must("dvc", "cache", "dir", "-q", "--local", str(project.path.with_name("shared")), cwd=project.path)
    assert "cache" not in {item.kind for item in retain(HARSHEST, NAME)}


def test_by_default_no_version_and_no_answer_goes() -> None:
    params = load_section("retain", YAML(typ="safe").load(ROOT / "params.yaml"))
    assert params == Params() and params.keep_versions is params.keep_scores_days is None

"""Data from S3 is versioned by DVC, and DVC's own remote may be S3: push, pull, and a refresh that finds nothing new.

References: dvc.lock, the bytes before and after, and the stages that really ran.
"""

import shutil
from pathlib import Path

import pytest
from s3_server import Bucket
from toy_project import ROOT, ToyProject


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def dvc(toy: ToyProject, *arguments: str) -> None:
    done = toy.run("dvc", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def toy(tmp_path: Path, bucket: Bucket) -> ToyProject:
    """The toy project, whose ingest stage is the real one, reading the prefix `raw/`."""
    toy = ToyProject(tmp_path)
    (tmp_path / "components/params/__init__.py").unlink()
    for name in ("ingest.py", "ingesting", "preparing", "sources", "params/__init__.py", "params/ingest.py"):
        (tmp_path / "components" / name).symlink_to(ROOT / "components" / name)
    toy.write("dvc.yaml", toy.read("dvc.yaml").replace("python step.py ingest artifacts/ingest/data", REAL_INGEST))
    section = f"ingest: {{source: s3, path: 's3://{bucket.name}/raw'}}"
    toy.variants("a")
    toy.write("params.yaml", toy.read("params.yaml").replace("ingest: {source: toy}", f"seed: 7\n{section}"))
    for day in ("monday", "tuesday"):
        bucket.put(f"raw/{day}/data", day.encode())
    return toy


REAL_INGEST = "echo ingest >> executions && python -m components.ingest"


def test_a_refresh_runs_nothing_downstream_until_the_prefix_has_changed(toy: ToyProject, bucket: Bucket) -> None:
    dvc(toy, "repro", "-q")
    locked, _ = toy.read("dvc.lock"), (toy.executed(), bucket.downloads())
    same = toy.run("flows.training", "--refresh")
    assert (same.returncode, toy.executed()) == (0, ["ingest", "register"]), same.stderr
    assert toy.read("dvc.lock") == locked
    assert bucket.downloads() == []

    bucket.put("raw/wednesday/data", b"wednesday")
    dvc(toy, "repro", "-q", "-f", "prepare")
    assert bucket.downloads() == ["raw/wednesday/data"]
    assert toy.read("artifacts/prepare/data") == "preparemondaytuesdaywednesday"


def test_a_colleague_pulls_from_s3_what_was_pushed_there(toy: ToyProject, bucket: Bucket) -> None:
    dvc(toy, "repro", "-q", "prepare")
    remote = f"url = s3://{bucket.name}/dvc\n    endpointurl = {bucket.server.url}"
    toy.write(".dvc/config", f"[core]\n    remote = store\n['remote \"store\"']\n    {remote}\n")
    dvc(toy, "push", "-q")
    made = files_below(toy.path / "artifacts")
    assert {"ingest/monday/data", "ingest/listing.json", "prepare/data"} <= set(made)
    for place in ("artifacts", ".dvc/cache", ".dvc/tmp", ".work"):
        shutil.rmtree(toy.path / place, ignore_errors=True)
    toy.executed()
    dvc(toy, "pull", "-q", "prepare", "ingest")
    assert files_below(toy.path / "artifacts") == made
    dvc(toy, "repro", "-q", "prepare")
    assert toy.executed() == []

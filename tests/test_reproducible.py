"""Same commit, same data, same machine: the same bytes in artifacts/, whatever the folder, the door or the order.

Everything runs twice: by `dvc repro` in one folder (the fixture), and stage by stage, in reverse order of variants and
without DVC, in another.
"""

import hashlib
import re
import sys
from pathlib import Path

from conftest import TINY, make_checkout, must
from ruamel.yaml import YAML

from components.runtime.outputs import ARTIFACTS

# what an artifact must not hold: a date, a time of day, a path of this machine
TELLTALES = re.compile(rb"20\d\d-[01]\d-[0-3]\d|\b[0-2]\d:[0-5]\d:[0-5]\d\b|/tmp/|/root/|/home/|/work/|site-packages")


def digests(checkout: Path) -> dict[str, str]:
    root = checkout / ARTIFACTS
    files = (path for path in root.rglob("*") if path.is_file() and path.name != ".gitignore")
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_two_folders_and_two_orders_leave_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    other = make_checkout(tmp_path / "another-folder")
    stages = [*(("ingest",), ("prepare",), ("resolve",))]
    for stage in ("train", "threshold", "evaluate", "export"):
        stages += [(stage, variant) for variant in reversed(TINY["variants"])]
    for stage, *variant in [*stages, ("compare",)]:
        must(sys.executable, "-m", f"components.{stage}", *variant, cwd=other)
    assert digests(other) == digests(finished)


def test_no_artifact_holds_a_date_or_a_path_of_this_machine(finished: Path) -> None:
    for path in sorted((finished / ARTIFACTS).rglob("*")):
        if path.is_file() and path.name != ".gitignore":
            found = TELLTALES.search(path.read_bytes())
            assert not found, f"{path}: {found and found.group()!r}"


def test_nothing_is_stale_after_a_run_and_dvc_lock_is_complete(finished: Path) -> None:
    assert must("dvc", "status", cwd=finished).strip() == "Data and pipelines are up to date."
    lock = YAML(typ="safe").load(finished / "dvc.lock")
    assert len(lock["stages"]) == 4 + 4 * len(TINY["variants"])


def test_a_run_leaves_git_with_nothing_but_the_lock_and_the_metrics(finished: Path) -> None:
    lines = must("git", "status", "--porcelain", "-uall", cwd=finished).splitlines()
    expected = {"dvc.lock", "artifacts/compare/leaderboard.json"}
    expected |= {f"artifacts/evaluate/{variant}/metrics.json" for variant in TINY["variants"]}
    assert {line[3:] for line in lines} == expected

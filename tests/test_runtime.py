"""What a user meets when the machine or the environment is at fault: one line, exit code 2, nothing half-written.

A full disk is a real one (a small tmpfs) where this user may mount; the sorting of errors is tested everywhere.
"""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from sqlite3 import OperationalError

import pytest
from conftest import ROOT, environment, must, run
from safetensors import SafetensorError

from components.runtime.errors import UserError, as_user_error, run_main
from components.runtime.outputs import complete_dir, complete_file, read_json, write_json


def raises(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            UserError("train.epochs", "must be\nat least 1", "raise it"),
            "error: train.epochs: must be at least 1; raise it",
        ),
        (OSError(errno.ENOSPC, "No space left on device", "a.npy"), "error: a.npy: the disk is full; free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "raw"), "error: raw: permission denied; make it readable"),
        # numpy, SQLite, safetensors and torch on a full disk
        (OSError("100000 requested and 2016 written"), "error: disk: the disk is full; free some space"),
        (OperationalError("database or disk is full"), "error: disk: the disk is full; free some space"),
        (OperationalError("disk I/O error"), "error: disk: the disk fails; see whether it is full or broken"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "error: disk: the disk is full; free"),
        (RuntimeError("[enforce fail at x.cc:671] . unexpected pos 576 vs 534"), "error: disk: the disk is full; free"),
        (OSError(errno.EROFS, "Read-only file system"), "error: disk: the file system is read-only; run in a writable"),
    ],
)
def test_what_the_user_can_mend_is_one_line(
    error: BaseException, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run_main(raises(error))
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert said.count("\n") == 1


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    assert as_user_error(OSError(errno.EBADF, "Bad file descriptor")) is None
    for error in (ValueError("ours"), OSError(errno.EBADF, "Bad file descriptor")):
        with pytest.raises(type(error)):
            run_main(raises(error))


def test_a_closed_pipe_is_no_error(checkout_root: Path = ROOT) -> None:
    command = f"{sys.executable} -m components.params | true"
    done = subprocess.run(
        ["bash", "-c", command], cwd=checkout_root, env=environment(), capture_output=True, check=False
    )
    assert done.stderr == b""


def test_a_directory_is_complete_or_absent(tmp_path: Path, in_directory: Callable[[Path], None]) -> None:
    in_directory(tmp_path)
    target = Path("artifacts/train/v")
    with complete_dir(target) as folder:
        (folder / "old").touch()
    with pytest.raises(KeyboardInterrupt), complete_dir(target) as folder:
        (folder / "new").touch()
        raise KeyboardInterrupt
    assert [path.name for path in target.iterdir()] == ["old"]
    assert not list(Path(".work/tmp").iterdir())
    with complete_dir(target) as folder:
        (folder / "new").touch()
    assert [path.name for path in target.iterdir()] == ["new"]


def test_a_file_is_complete_or_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    write_json(target, {"b": 1, "a": [1.5, None]})
    with pytest.raises(ValueError, match="not JSON compliant"), complete_file(target) as temporary:
        write_json(temporary, {"loss": float("nan")})
    assert read_json(target, "train") == {"b": 1, "a": [1.5, None]}
    assert list(tmp_path.iterdir()) == [target]


def test_a_damaged_artifact_names_the_stage_that_makes_it(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"is not valid JSON; run `dvc repro -f -s prepare` to make it again"):
        read_json(tmp_path / "manifest.json", "prepare")


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("import sys; sys.version_info = (3, 10, 9); import components", "error: python: 3.11 or newer is needed"),
        ("import components", "error: environment: the packages are not installed for"),
    ],
)
def test_a_wrong_interpreter_is_told_so(code: str, line: str) -> None:
    # -S leaves out site-packages, as the system's Python does
    done = run(sys.executable, "-S", "-c", code, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 96 KiB."""
    target = tmp_path / "small"
    target.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "none", target], check=False).returncode
    ):
        pytest.skip("mounting a small disk needs root and the right to mount")
    yield target
    must("umount", str(target), cwd=tmp_path)


def test_a_full_disk_is_one_line_and_leaves_nothing(finished: Path, small_disk: Path) -> None:
    for name in ("components", "params.yaml"):
        (small_disk / name).symlink_to(finished / name)
    raw = small_disk / "artifacts" / "ingest"
    raw.parent.mkdir()
    raw.symlink_to(finished / "artifacts" / "ingest")
    done = run(sys.executable, "-m", "components.prepare", cwd=small_disk)
    assert done.returncode == 2
    assert "the disk is full; free some space and run again" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (small_disk / "artifacts" / "prepare").exists()
    assert not list((small_disk / ".work" / "tmp").iterdir())
    assert shutil.disk_usage(small_disk).free > 0

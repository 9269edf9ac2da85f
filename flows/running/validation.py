"""params.yaml is checked as a whole before anything runs: in a child, because the models' schemas import torch."""

import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from components.runtime.errors import EXIT_USER_ERROR, UserError

STAMP = Path(".work/params.checked")
_CODE = tuple(f"components/{name}" for name in ("analyses", "models", "params", "scores", "sources"))


@contextmanager
def checking_params() -> Iterator[Callable[[], None]]:
    """Check params.yaml while the block begins; the block calls what it is given before it relies on params.

    What goes wrong in the block yields to what is wrong with params, which is likely its cause. A check that ended well
    is not repeated until params.yaml or the code behind it changes.

    Raises:
        UserError: params.yaml is wrong.
    """
    digest = _digest()
    if STAMP.is_file() and STAMP.read_text() == digest:
        yield lambda: None
        return
    check = _start()

    def finish() -> None:
        _finish(check)
        STAMP.parent.mkdir(exist_ok=True)
        STAMP.write_text(digest)

    try:
        yield finish
    finally:
        if check.returncode is None:
            finish()


def check_params(files: Iterable[Path]) -> None:
    """Check other files as params.yaml is checked.

    Raises:
        UserError: one of them is wrong.
    """
    _finish(_start(*map(str, files)))


def _start(*files: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "components.params", *files]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _finish(check: "subprocess.Popen[str]") -> None:
    _, said = check.communicate() if check.returncode is None else (None, "")
    if check.returncode == EXIT_USER_ERROR:
        raise _as_user_error(said)
    if check.returncode:
        raise RuntimeError(f"the check of params broke:\n{said}")


def _as_user_error(said: str) -> UserError:
    line = said.strip().rpartition("\n")[2].removeprefix("error: ")
    where, _, rest = line.partition(": ")
    what, _, fix = rest.rpartition("; ")
    return UserError(where, what, fix)


def _digest() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for path in [Path("params.yaml"), *(path for folder in _CODE for path in sorted(Path(folder).glob("*.py")))]:
        digest.update(f"{path}\0".encode() + (path.read_bytes() if path.is_file() else b"") + b"\0")
    return digest.hexdigest()

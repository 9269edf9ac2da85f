"""Checkouts to spoil, and the undisturbed run that each of them must come to in the end."""

import hashlib
import itertools
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.faults.result import EQUAL

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from conftest import edit_params, environment, make_checkout  # noqa: E402, F401
from prefect_api import running_server  # noqa: E402, F401
from toy_project import ToyProject, wait_until  # noqa: E402, F401

SMALL: dict[str, Any] = {
    "train": {"epochs": 1, "learning_rate": 0.003, "schedule": "one_cycle"},
    "baselines": {},
    "evaluate": {"bootstrap": 100},
}
"""Digits, one epoch, two variants: every stage there is, in seconds each."""
FLOW = ("flows.training", "--jobs", "2")
REGISTER = ("components.register",)
_LONGEST = 900.0
_PUBLISHED = ("mlflow.db", "mlartifacts", ".work/published.json", ".work/published")
_STAMP = re.compile(r"^\d\d:\d\d:\d\d \S+ +")


@dataclass(frozen=True)
class State:
    """All that a run is for, without what may differ between two of them."""

    lock: dict[str, Any]
    """dvc.lock."""
    artifacts: dict[str, str]
    """Each file, then its SHA-256."""
    versions: tuple[str, ...]
    """The content key of each registered version."""
    runs: tuple[str, ...]
    """The content key of each of MLflow's runs."""

    def compare(self, undisturbed: "State") -> str:
        """EQUAL, or what is not."""
        wrong = [name for name in ("lock", "versions", "runs") if getattr(self, name) != getattr(undisturbed, name)]
        files = set(self.artifacts.items()) ^ set(undisturbed.artifacts.items())
        wrong += sorted({name for name, _ in files})[:3]
        return f"differs: {', '.join(wrong)}" if wrong else EQUAL


@dataclass(frozen=True)
class Ending:
    """How a process ended, and what it said."""

    code: int
    said: str

    @property
    def line(self) -> str:
        """The line that explains a failure: the last one."""
        return self.said.strip().rpartition("\n")[2]

    def in_words(self) -> str:
        """For the table: exit code and line, without paths, addresses and numbers of processes."""
        if self.code == 0:
            return "finished"
        if "Traceback (most recent call last)" in self.said:
            return f"TRACEBACK, exit code {self.code}: {_plain(self.line)}"
        return f"exit code {self.code}: `{_plain(_STAMP.sub('', self.line))}`"


def _plain(line: str) -> str:
    for pattern, word in (
        (r"127\.0\.0\.1:\d+|127\.0\.0\.1\D{1,12}\d{4,5}\b", "HOST"),
        (r"/tmp/[\w./-]*/", "…/"),
        (r"process \d+", "process N"),
        (r"0x[0-9a-f]+|[0-9a-f]{32,}|[0-9a-f-]{36}", "…"),
    ):
        line = re.sub(pattern, word, line)
    return line if len(line) <= 220 else f"{line[:220]}…"


@dataclass(frozen=True)
class Checkout:
    """A checkout that may be spoiled."""

    path: Path
    extra: Mapping[str, str] = field(default_factory=dict)
    """Of the environment, beside that of a user's shell."""
    log_name: str = "output.log"

    @property
    def log(self) -> Path:
        """What the process that was started last printed; beside the checkout, which may be on a full disk."""
        return self.path.with_name(f"{self.path.name}.{self.log_name}")

    def start(self, *command: str, **extra: str) -> "subprocess.Popen[bytes]":
        """Start `python -m COMMAND`."""
        with self.log.open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=self.path,
                env=environment(**{**self.extra, **extra}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, *command: str, **extra: str) -> Ending:
        """Run it to its end."""
        return self.end_of(self.start(*command, **extra))

    def end_of(self, process: "subprocess.Popen[bytes]") -> Ending:
        """Wait for a process that was started here."""
        code = process.wait(_LONGEST)
        return Ending(code, self.log.read_text(errors="replace"))

    def state(self, store: Path = Path("mlflow.db")) -> State:
        """What has been made; `store` is where MLflow keeps its records."""
        versions, runs = _keys(self.path / store)
        return State(self.lock(), self.digests(), versions, runs)

    def lock(self) -> dict[str, Any]:
        """dvc.lock, parsed."""
        return YAML(typ="safe").load((self.path / "dvc.lock").read_text())

    def digests(self) -> dict[str, str]:
        """The SHA-256 of each file below artifacts/."""
        found = {}
        for path in (self.path / "artifacts").rglob("*"):
            if path.is_file() and path.name != ".gitkeep":
                with path.open("rb") as stream:
                    found[str(path.relative_to(self.path))] = hashlib.file_digest(stream, "sha256").hexdigest()
        return found

    def torn(self, undisturbed: State) -> list[str]:
        """Files that lie where a whole one belongs and are none."""
        whole = undisturbed.artifacts
        return [name for name, digest in self.digests().items() if name in whole and whole[name] != digest]


def _keys(store: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Content keys of versions and of runs, each as often as it is there."""
    if not store.exists():
        return (), ()
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as records:
        both = [
            records.execute(f"SELECT value FROM {name} WHERE key = 'hourglass.key' ORDER BY value").fetchall()  # noqa: S608
            for name in ("model_version_tags", "tags")
        ]
    versions, runs = (tuple(value for (value,) in found) for found in both)
    return versions, runs


class World:
    """A folder of checkouts, and the undisturbed run.

    Args:
        folder: everything lies in it; other users may enter it.
        template: a checkout in which nothing was run.
        prefect_home: a PREFECT_HOME whose database is migrated, which takes longer than all the rest.
    """

    def __init__(self, folder: Path, template: Path, prefect_home: Path | None = None) -> None:
        self.folder, self.template = folder, template
        self._numbers = itertools.count(1)
        complete = Checkout(self._copy(template, folder / "undisturbed"))
        if prefect_home:
            shutil.copytree(prefect_home, complete.path / ".prefect")
        began = time.monotonic()
        ending = complete.run(*FLOW)
        if ending.code:
            raise RuntimeError(f"the undisturbed run failed:\n{ending.said}")
        self.seconds = time.monotonic() - began
        """That the undisturbed run took."""
        self.undisturbed = complete.state()
        """What it came to."""
        self.undisturbed_path = complete.path
        """Where it is; read only."""

    def fresh(self, name: str) -> Checkout:
        """A checkout in which nothing was run but Prefect's migration."""
        return self.fill(self.folder / f"{name}-{next(self._numbers)}")

    def fill(self, folder: Path) -> Checkout:
        """The same, in a folder that may be there."""
        shutil.copytree(self.template, folder, symlinks=True, dirs_exist_ok=True)
        shutil.copytree(self.undisturbed_path / ".prefect", folder / ".prefect")
        return Checkout(folder)

    def unpublished(self, name: str) -> Checkout:
        """A copy of the undisturbed run before it was published."""
        checkout = Checkout(self._copy(self.undisturbed_path, self.folder / f"{name}-{next(self._numbers)}"))
        for made in _PUBLISHED:
            path = checkout.path / made
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return checkout

    def drop(self, checkout: Checkout) -> None:
        """Remove a checkout that nobody needs any more."""
        shutil.rmtree(checkout.path)

    @staticmethod
    def _copy(source: Path, target: Path) -> Path:
        shutil.copytree(source, target, symlinks=True)
        return target


def real_world(folder: Path) -> World:
    """A world of the real project's stages."""
    return World(folder, make_checkout(folder / "template", **SMALL))


def toy_world(folder: Path, prefect_home: Path | None = None) -> World:
    """A world of stages of a few lines, run by the real flow: for faults that stages have no part in."""
    folder.mkdir(exist_ok=True)
    ToyProject(folder / "template")
    return World(folder, folder / "template", prefect_home)

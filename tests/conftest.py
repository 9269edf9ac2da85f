"""Fixtures: small checkouts of this very project, on which tests run real DVC, MLflow and Prefect."""

import contextlib
import fcntl
import gc
import hashlib
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from ruamel.yaml import YAML
from s3_server import Bucket, S3Server, running_server

from components.params import MAPPINGS

# two test processes share two cores, and threads that spin would starve each other; set before torch is imported
os.environ["OMP_NUM_THREADS"] = "1"

# a machine that others load must not fail an example for its time
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).parent.parent

TINY: dict[str, Any] = {
    "variants": {
        "pca": {"model": "pca", "latent_dim": 8},
        "vanilla": {"model": "vanilla", "latent_dim": 8, "hidden": [128]},
    },
    "baselines": {"neighbours": {"method": "nearest_neighbours"}},
    "train": {"epochs": 60, "learning_rate": 0.003, "schedule": "one_cycle"},
    "evaluate": {"bootstrap": 200},
}
"""What differs from params.yaml in test checkouts: two variants, a baseline, seconds of training."""


def environment(**extra: str) -> dict[str, str]:
    """The environment of a user who activated the venv: no foreign server, no foreign settings."""
    foreign = ("PREFECT_", "MLFLOW_", "DVC_", "HOURGLASS_", "PYTEST_", "CUDA_VISIBLE_DEVICES")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}", **extra}


def run(*command: str, cwd: Path, timeout: float = 240, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user would, and return what it printed."""
    return subprocess.run(
        command, cwd=cwd, env=environment(**env), capture_output=True, text=True, timeout=timeout, check=False
    )


def must(*command: str, cwd: Path, timeout: float = 240, **env: str) -> str:
    """Run a command that has to succeed; return its standard output."""
    done = run(*command, cwd=cwd, timeout=timeout, **env)
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def edit_params(checkout: Path, **sections: Any) -> None:
    """Change params.yaml: a mapping updates its section, anything else replaces it, and so do variants."""
    yaml, path = YAML(), checkout / "params.yaml"
    params = yaml.load(path)
    for name, value in sections.items():
        if isinstance(value, dict) and name not in MAPPINGS:
            params[name].update(value)
        else:
            params[name] = value
    with path.open("w") as stream:
        yaml.dump(params, stream)


def make_checkout(target: Path, **params: Any) -> Path:
    """A fresh clone of the working tree with tiny params: a git repository of its own, nothing run in it."""
    listed = must("git", "ls-files", "-co", "--exclude-standard", "-z", cwd=ROOT).split("\0")
    for name in filter(None, listed):
        made = name.startswith("artifacts/") and not name.endswith("/.gitkeep")
        if made or name.startswith("docs/") or name == "dvc.lock" or not (ROOT / name).is_file():
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    edit_params(target, **{**TINY, **params})
    must("git", "init", "-q", "-b", "main", cwd=target)
    must("git", "add", "-A", cwd=target)
    identity = ("-c", "user.name=tester", "-c", "user.email=tester@localhost")
    must("git", *identity, "commit", "-q", "-m", "test checkout", cwd=target)
    return target


def built_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]) -> Path:
    """A folder that the first worker of a test run to ask for it builds, for all workers; read only."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    target, done = shared / name, shared / f"{name}.done"
    with locked(shared / f"{name}.lock"):
        if not done.exists():
            build(target)
            done.touch()
    return target


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete tiny pipeline run by `dvc repro`; read only."""

    def build(target: Path) -> None:
        make_checkout(target)
        must("dvc", "repro", "-q", cwd=target)

    return built_once(tmp_path_factory, "finished", build)


@pytest.fixture
def checkout(finished: Path, tmp_path: Path) -> Path:
    """A private copy of the finished checkout."""
    target = tmp_path / "checkout"
    shutil.copytree(finished, target, symlinks=True)
    return target


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PREFECT_HOME whose database is migrated, which takes longer than all the rest; to be copied."""
    from prefect_api import running_server

    def build(target: Path) -> None:
        with running_server(target):
            pass

    return built_once(tmp_path_factory, "prefect_home", build)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server that lasts for all tests of this process."""
    with running_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def bucket(s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket, and the environment that leads to its server."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    yield Bucket(s3_server, f"test-{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:16]}")
    with warnings.catch_warnings():
        # a sync that a test breaks off leaves connections to the collector, which would complain in another
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def in_directory(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Change the working directory for one test; stages take their paths from it."""
    return monkeypatch.chdir


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time."""
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield

"""A checkout that runs in seconds: a graph of the real one's shape whose stages are a few lines of Python.

    ingest → prepare ─┬─ train@V → judge@V ─┬─ compare        then, outside the graph: components.register
                      └─ … one chain per V …┘

`flows` and `components.runtime` are the real ones. A file `control/STAGE` holds Python that the stage runs first, which
is how tests make it fail, wait, die or write something else (`extra`); `executions` lists the stages that really ran.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

DVC_YAML = """
stages:
  ingest:
    cmd: python step.py ingest artifacts/ingest/data
    params: [ingest]
    outs:
      - artifacts/ingest: {persist: true}
  prepare:
    cmd: python step.py prepare artifacts/prepare/data artifacts/ingest
    deps: [step.py, artifacts/ingest]
    outs: [artifacts/prepare]
  train:
    foreach: ${variants}
    do:
      cmd: python step.py train@${key} artifacts/train/${key}/data artifacts/prepare
      deps: [step.py, artifacts/prepare]
      params: ["variants.${key}"]
      outs: ["artifacts/train/${key}"]
  judge:
    foreach: ${variants}
    do:
      cmd: python step.py judge@${key} artifacts/judge/${key}/data artifacts/train/${key}
      deps: [step.py, "artifacts/train/${key}"]
      outs: ["artifacts/judge/${key}/data"]
      metrics:
        - artifacts/judge/${key}/metrics.json: {cache: false}
  compare:
    cmd: python step.py compare artifacts/compare/data artifacts/judge
    deps: [step.py, artifacts/judge]
    params: [variants]
    outs: [artifacts/compare/data]
    metrics:
      - artifacts/compare/leaderboard.json: {cache: false}
"""

STEP = """
import os, pathlib, signal, sys, time
name, out, *inputs = sys.argv[1:]
extra = ""

def write(path, text):  # whole or not at all, as the real stages do
    os.makedirs(".work", exist_ok=True)
    temporary = pathlib.Path(".work", f"{os.getpid()}.tmp")
    temporary.write_text(text)
    os.replace(temporary, path)

with open("executions", "a") as file:
    print(name, file=file)
print(name, "at work", flush=True)
control = pathlib.Path("control", name)
if control.exists():
    exec(control.read_text())
files = sorted(path for folder in inputs for path in pathlib.Path(folder).rglob("data"))
text = name.partition("@")[0] + "".join(path.read_text() for path in files) + extra
if name == "ingest":
    text = pathlib.Path("source").read_text()
os.makedirs(os.path.dirname(out), exist_ok=True)
write(out, text)
if name.startswith("judge"):
    write(pathlib.Path(out).with_name("metrics.json"), '{"mse": 0.5}')
if name == "compare":
    row = {"mse": 0.5, "rank": 1}
    board = {"rule": "mse", "winner": "a", "candidates": 1, "rows": {"a": row}}
    write(pathlib.Path(out).with_name("leaderboard.json"), __import__("json").dumps(board))
    write(pathlib.Path(out).with_name("report.html"), "<p>report</p>")
"""

FILES = {
    ".dvc/config": "[core]\n    analytics = false\n    autostage = false\n",
    ".dvcignore": "__pycache__/\n",
    ".gitignore": "/artifacts\n/.work\n/.prefect\n__pycache__/\n/.dvc/cache\n/.dvc/tmp\n",
    "dvc.yaml": DVC_YAML,
    "step.py": STEP,
    "source": "raw",
    "params.yaml": "threads: 1\ningest: {source: toy}\nvariants:\n  a: {model: x}\n  b: {model: x}\n",
    "components/params/__init__.py": "class G:\n    threads = 1\n\n\ndef load_globals():\n    return G\n",
    "components/params/__main__.py": (
        "import pathlib\nfrom components.runtime.errors import UserError, die\n"
        "if 'wrong' in pathlib.Path('params.yaml').read_text():\n"
        "    die(UserError('variants.wrong', 'unknown key', 'remove it'))\n"
    ),
    "components/publishing/__init__.py": "",
    "components/publishing/key.py": (
        "import hashlib, pathlib\n\n\ndef publish_key():\n"
        "    return hashlib.sha256(pathlib.Path('dvc.lock').read_bytes()).hexdigest()\n\n\n"
        "def is_published():\n    file = pathlib.Path('.work/published')\n"
        "    return file.exists() and file.read_text() == publish_key()\n"
        "\n\ndef published():\n    file = pathlib.Path('champion')\n"
        "    return {'promoted': file.exists(), 'told': file.read_text() if file.exists() else 'version 1 stays'}\n"
    ),
    "components/register.py": (
        "import pathlib\nfrom components.publishing.key import publish_key\n"
        "control = pathlib.Path('control/register')\n"
        "if control.exists():\n    exec(control.read_text())\n"
        "with open('executions', 'a') as file:\n    print('register', file=file)\n"
        "print('version 1', flush=True)\npathlib.Path('.work').mkdir(exist_ok=True)\n"
        "pathlib.Path('.work/published').write_text(publish_key())\n"
    ),
}


class ToyProject:
    """The toy project in `path`: a new one, or the one that is there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if (path / "dvc.yaml").exists():
            return  # a copy of another
        for name, text in FILES.items():
            self.write(name, text)
        for name in ("flows", "components/__init__.py", "components/checkout", "components/runtime"):
            (path / name).symlink_to(ROOT / name)
        subprocess.run(["git", "init", "-q", str(path)], check=True)

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text)

    def read(self, name: str) -> str:
        """A file of the project, empty where there is none."""
        return (self.path / name).read_text() if (self.path / name).exists() else ""

    def control(self, stage: str, code: str) -> None:
        """Let a stage run `code` first; empty for nothing."""
        self.write(f"control/{stage}", code)

    def variants(self, *names: str) -> None:
        """Name other variants in params.yaml."""
        lines = "".join(f"  {name}: {{model: x}}\n" for name in names)
        self.write("params.yaml", f"threads: 1\ningest: {{source: toy}}\nvariants:\n{lines}")

    def executed(self) -> list[str]:
        """The stages that ran since the last call, in order of their start."""
        names = self.read("executions").split()
        self.write("executions", "")
        return names

    def start(self, *command: str, environment: Mapping[str, str | None] | None = None) -> "subprocess.Popen[str]":
        """Start `python -m COMMAND` in the checkout, with the environment of a fresh shell."""
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PYTEST_"))}
        mine |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **(environment or {})}
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=self.path,
            env={name: value for name, value in mine.items() if value is not None},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *command: str, environment: Mapping[str, str | None] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run `python -m COMMAND` in the checkout to its end."""
        process = self.start(*command, environment=environment)
        out, err = process.communicate(timeout=240)
        return subprocess.CompletedProcess(command, process.returncode, out, err)


def wait_until(condition: Callable[[], object], seconds: float = 60) -> bool:
    """Whether `condition` came true within the time."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


def is_alive(pid: str | int) -> bool:
    """Whether a process runs; a zombie does not: it is its parent that is late."""
    return (status := _status(pid)) is not None and status[0] != "Z"


def descendants_of(pid: int) -> set[str]:
    """The processes that a process started, and those that these started."""
    running = [path.name for path in Path("/proc").iterdir() if path.name.isdecimal()]
    parents = {other: status[1] for other in running if (status := _status(other))}
    family: set[str] = set()
    while found := {other for other, parent in parents.items() if parent in {str(pid), *family}} - family:
        family |= found
    return family


def _status(pid: str | int) -> list[str] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None

"""A project that trains, registers and is made again in seconds: the real graph's shape, with stages of a few lines.

    ingest → prepare → train@a → threshold@a → evaluate@a → export@a → compress@a

Git, DVC and MLflow are real. A stage writes numbers that follow from its inputs. Environment variables tell it where
they come from (SOURCE, which need not be there later), what to add to them as another machine might (NOISE), and where
to note that it ran (EXECUTED).
"""

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from conftest import must
from mlflow.tracking import MlflowClient
from publications import NAME, empty_store
from ruamel.yaml import YAML

from components.publishing.machine import describe_machine
from components.publishing.results import CHAIN
from components.publishing.version import PROVENANCE, SCORER, SCORER_DIGEST
from components.runtime.outputs import sha256

STEP = """
import json, os, pathlib, sys
name, out, *inputs = sys.argv[1:]
params = json.loads(pathlib.Path("params.yaml").read_text())
with open(os.environ.get("EXECUTED", os.devnull), "a") as file:
    print(name, file=file)
if name == "ingest":
    source = pathlib.Path(os.environ.get("SOURCE", "gone"))
    if not source.exists():
        print("error: ingest.path: is missing; bring it back", file=sys.stderr)
        raise SystemExit(2)
    text = source.read_text()
else:
    found = sorted(path for folder in inputs for path in pathlib.Path(folder).rglob("numbers.json"))
    value = sum(json.loads(path.read_text())["value"] for path in found) + params["seed"]
    value += params["late"] * name.startswith("export")
    text = json.dumps({"value": value + float(os.environ.get("NOISE", 0)) * name.startswith("train")})
pathlib.Path(out).mkdir(parents=True, exist_ok=True)
pathlib.Path(out, "numbers.json").write_text(text)
if name.startswith("evaluate"):
    value = json.loads(text)["value"]
    pathlib.Path(out, "scores.csv").write_text(f"class,score\\none,{value}\\ntwo,{value + 1}\\n")
    pathlib.Path(out, "metrics.json").write_text(text)
if name.startswith("export"):
    pathlib.Path(out, "scorer.onnx").write_text(text)
"""


def _stage(name: str, folder: str, *inputs: str) -> dict[str, Any]:
    stage = {
        "cmd": " ".join(("python step.py", name, folder, *inputs)),
        "deps": ["step.py", "requirements.lock", *inputs],
        "params": ["seed"],
        "outs": [folder],
    }
    if name.startswith("export"):
        stage["params"] = ["seed", "late"]
    if name.startswith("evaluate"):
        stage["outs"] = [f"{folder}/numbers.json", f"{folder}/scores.csv"]
        stage["metrics"] = [{f"{folder}/metrics.json": {"cache": False}}]
    return stage


def _graph() -> dict[str, Any]:
    ingest = {"cmd": "python step.py ingest artifacts/ingest", "params": ["ingest"]}
    ingest["outs"] = [{"artifacts/ingest": {"persist": True}}]
    stages = {"ingest": ingest, "prepare": _stage("prepare", "artifacts/prepare", "artifacts/ingest")}
    before = "artifacts/prepare"
    for step in CHAIN:
        folder = f"artifacts/{step}/${{key}}"
        stages[step] = {"foreach": "${variants}", "do": _stage(f"{step}@${{key}}", folder, before)}
        before = folder
    return {"stages": stages}


_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


class Rebuildable:
    """The project in `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if (path / "dvc.yaml").exists():
            return  # a copy of another
        path.mkdir(parents=True, exist_ok=True)
        self.write("source.json", '{"value": 0.25}')
        self.write("step.py", STEP)
        self.write("requirements.lock", f"numpy=={np.__version__}\n")
        ignored = ("/artifacts/**", "/mlartifacts", "/mlflow.db*", "/.work", "/scores", "/.monitoring", "/source.json")
        self.write(".gitignore", "\n".join(ignored) + "\n")
        self.write(".dvcignore", ".work/\nmlartifacts/\n__pycache__/\n")
        self.write(".dvc/config", "[core]\n    analytics = false\n")
        self.write(".dvc/.gitignore", "/config.local\n/tmp\n/cache\n")
        self.params()
        YAML().dump(_graph(), path / "dvc.yaml")
        (path / "mlflow.db").write_bytes(empty_store())
        must("git", "init", "-q", "-b", "main", cwd=path)
        self.commit()

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text)

    def params(self, seed: int = 1, late: int = 0, **sections: Any) -> None:
        """Write params.yaml, which is JSON too."""
        self.write("params.yaml", json.dumps({
            "seed": seed, "late": late, "threads": 1, "ingest": {"source": "toy"},
            "variants": {"a": {}}, "export": {"publish": "float32"}, "register": {"name": NAME}, **sections,
        }))  # fmt: skip

    def commit(self) -> str:
        """Commit what git tracks; returns the commit."""
        identity = ("-c", "user.name=tester", "-c", "user.email=tester@localhost")
        must("git", "add", "-A", cwd=self.path)
        must("git", *identity, "commit", "-q", "-m", "x", cwd=self.path)
        return self.head

    @property
    def head(self) -> str:
        return must("git", "rev-parse", "HEAD", cwd=self.path).strip()

    def run(self) -> None:
        """Run what is stale."""
        must("dvc", "repro", "-q", cwd=self.path, SOURCE=str(self.path / "source.json"))

    def copied(self, target: Path) -> "Rebuildable":
        """The same elsewhere; the store's absolute paths move along."""
        shutil.copytree(self.path, target, symlinks=True)
        with closing(sqlite3.connect(target / "mlflow.db")) as store, store:
            for table, column in _PLACES:
                move = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"  # noqa: S608 - our own names
                store.execute(move, (str(self.path), str(target)))
        return Rebuildable(target)

    @property
    def client(self) -> MlflowClient:
        """Its store."""
        return MlflowClient(f"sqlite:///{self.path / 'mlflow.db'}")

    def register(self, alias: str | None = None, model: Path | None = None, **tags: str) -> str:
        """Register what lies in artifacts/, as publishing does; returns the number.

        Args:
            alias: for the version.
            model: a model that can be loaded, to register in the place of the stages' own.
            tags: of the version, further ones.
        """
        client = self.client
        experiment = client.get_experiment_by_name(NAME)
        root = self.path / "mlartifacts" / NAME
        number = experiment.experiment_id if experiment else client.create_experiment(NAME, root.as_uri())
        if not client.search_registered_models(f"name = '{NAME}'"):
            client.create_registered_model(NAME)
        machine = {f"hourglass.{name}": value for name, value in describe_machine().items()}
        machine["hourglass.speed.device"] = "cpu"
        run = client.create_run(number, tags=machine)
        folder = self.path / "staged"
        if model:
            shutil.copytree(model, folder / "model")
        for name in ("dvc.lock", "params.yaml", "requirements.lock"):
            (folder / "model" / PROVENANCE).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.path / name, folder / "model" / PROVENANCE / name)
        scorer = folder / "model" / SCORER
        if model is None:
            scorer.parent.mkdir(parents=True)
            shutil.copyfile(self.path / "artifacts/export/a/scorer.onnx", scorer)
        own = {
            "hourglass.commit": self.head, "hourglass.dirty": "false", "hourglass.variant": "a",
            "hourglass.dvc_lock": hashlib.sha256((self.path / "dvc.lock").read_bytes()).hexdigest(),
        }  # fmt: skip
        if model is None:
            own[SCORER_DIGEST] = sha256(scorer)
        client.log_artifacts(run.info.run_id, str(folder))
        client.set_terminated(run.info.run_id)
        shutil.rmtree(folder)
        source = f"{run.info.artifact_uri}/model"
        version = client.create_model_version(NAME, source, run.info.run_id, tags=own | tags)
        if alias:
            client.set_registered_model_alias(NAME, alias, str(version.version))
        return str(version.version)

    def provenance(self, number: str, name: str) -> Path:
        """A file that travels with a version."""
        source = self.client.get_model_version(NAME, number).source.removeprefix("file://")
        return Path(source) / PROVENANCE / name

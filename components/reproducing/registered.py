"""What a version says of its making: its commit, its dvc.lock, its params, its libraries and its machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.params import load_section, read_params
from components.publishing.chosen import Chosen
from components.publishing.dvc_lock import read_stages
from components.publishing.key import LOCK, PARAMS, STORE, is_default_store
from components.publishing.named import find_named
from components.publishing.results import CHAIN
from components.publishing.runs import REQUIREMENTS
from components.publishing.store import TAG, Store
from components.publishing.version import PROVENANCE, SCORER_DIGEST
from components.runtime.errors import UserError

_MACHINE = ("machine", "cpu", "cpu_flags", "speed.device")


@dataclass(frozen=True)
class Registered:
    """A version of the registry, with the files that travel with it."""

    name: str
    number: str
    run_id: str
    commit: str
    dirty: bool
    """Its code was not its commit's."""
    variant: str
    scorer_digest: str
    """SHA-256 of the graph that it serves; empty where it is not known."""
    lock_digest: str
    """SHA-256 that its dvc.lock had when it was registered."""
    machine: dict[str, str]
    """What registered and trained it; without what was not noted."""
    stages: dict[str, Any]
    """Of its dvc.lock."""
    files: Path
    """Folder of dvc.lock, params.yaml and requirements.lock."""

    def __str__(self) -> str:
        return f"{self.name}/{self.number}"

    @property
    def targets(self) -> list[str]:
        """The stages of its variant's chain; an older commit may know fewer."""
        return [name for name in (f"{stage}@{self.variant}" for stage in CHAIN) if name in self.stages]

    @property
    def params(self) -> dict[str, Any]:
        """Its params.yaml."""
        return read_params(self.files / PARAMS)

    @property
    def chosen(self) -> Chosen:
        """Which of its variant's scorers it serves."""
        return Chosen(self.variant, load_section("export", self.params).publish)

    def needed(self) -> dict[str, Any]:
        """The stages of dvc.lock that its chain depends on, and the chain, in the order of the file."""
        outs = {out["path"]: name for name, stage in self.stages.items() for out in stage["outs"]}
        found, todo = set(), list(self.targets)
        while todo:
            if (name := todo.pop()) not in found:
                found.add(name)
                todo += [outs[out] for dep in paths(self.stages[name], "deps") for out in outs if meet(dep, out)]
        return {name: stage for name, stage in self.stages.items() if name in found}


def paths(stage: dict[str, Any], kind: str) -> list[str]:
    """Paths of a stage's `deps` or `outs`."""
    return [entry["path"] for entry in stage.get(kind, ())]


def meet(one: str, other: str) -> bool:
    """Whether one of two paths is the other or lies in it."""
    return Path(one).is_relative_to(other) or Path(other).is_relative_to(one)


def load_registered(store: Store, reference: str, folder: Path) -> Registered:
    """Find a version and bring what travels with it into `folder`.

    Raises:
        UserError: no such version, or it was not registered by this project, or its files cannot be read.
    """
    import mlflow

    version = find_named(store, reference, "components.reproduce")
    name, number = version.name, str(version.version)
    where, fix = f"models:/{name}/{number}", "restore its files, or reproduce another version"
    tags = version.tags
    if not {f"{TAG}commit", f"{TAG}variant"} <= tags.keys():
        fix = "reproduce one that `components.register` made"
        raise UserError(where, "does not say which commit and variant it was made of", fix)
    uri = f"{store.client.get_model_version_download_uri(name, number)}/{PROVENANCE}"
    try:
        files = mlflow.artifacts.download_artifacts(uri, dst_path=folder, tracking_uri=store.client.tracking_uri)
    except (OSError, mlflow.MlflowException) as error:
        raise UserError(where, f"its files cannot be read ({str(error).partition(chr(10))[0]})", fix) from None
    for needed in (LOCK, PARAMS, REQUIREMENTS):
        if not Path(files, needed).is_file():
            raise UserError(where, f"{PROVENANCE}/{needed} is missing", fix)
    run = store.client.get_run(version.run_id).data.tags
    registered = Registered(
        name,
        number,
        version.run_id,
        tags[f"{TAG}commit"],
        tags.get(f"{TAG}dirty") == "true",
        tags[f"{TAG}variant"],
        tags.get(SCORER_DIGEST, ""),
        tags.get(f"{TAG}dvc_lock", ""),
        {of.rpartition(".")[2]: run[f"{TAG}{of}"] for of in _MACHINE if f"{TAG}{of}" in run},
        read_stages(Path(files, LOCK), fix),
        Path(files),
    )
    if not registered.targets:
        raise UserError(where, f"its {LOCK} has no stage of its variant '{registered.variant}'", fix)
    return registered


def check_store() -> None:
    """Refuse to open a store that would only be made by opening it.

    Raises:
        UserError: nothing was ever registered in this checkout.
    """
    if is_default_store() and not STORE.exists():
        fix = "set MLFLOW_TRACKING_URI to the server that has the version, or run where it was registered"
        raise UserError(str(STORE), "is missing, nothing is registered here", fix)

"""The versions that the registry has, and what each of them needs to be served, rolled back to and made again."""

import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.publishing.dvc_lock import read_stages
from components.publishing.key import LOCK
from components.publishing.moves import REPLACED
from components.publishing.store import TAG, Store
from components.publishing.version import PROVENANCE
from components.retaining.batch import Batch, Item
from components.runtime.errors import UserError
from components.runtime.outputs import WORK

if TYPE_CHECKING:
    from mlflow.store.entities import PagedList


@dataclass(frozen=True)
class Version:
    """A version of any registered model of the store."""

    name: str
    number: str
    run_id: str
    aliases: tuple[str, ...]
    commit: str
    """That made it; empty where another project registered it."""
    replaced: str
    """Number of the champion before it, to which a rollback goes."""

    def __str__(self) -> str:
        return f"{self.name}/{self.number}"


def all_versions(store: Store) -> list[Version]:
    """Every version of every model, the newest of each first."""
    aliases: dict[tuple[str, str], list[str]] = defaultdict(list)
    for model in every(store.client.search_registered_models):
        for alias, number in model.aliases.items():
            aliases[model.name, str(number)].append(alias)
    versions = [
        Version(
            each.name,
            str(each.version),
            each.run_id,
            tuple(sorted(aliases[each.name, str(each.version)])),
            each.tags.get(f"{TAG}commit", ""),
            each.tags.get(REPLACED, ""),
        )
        for each in every(store.client.search_model_versions)
    ]
    return sorted(versions, key=lambda version: (version.name, -int(version.number)))


def every(search: "Callable[..., PagedList[Any]]") -> Iterator[Any]:
    """All that a search of MLflow's client finds, page after page."""
    page = search()
    yield from page
    while page.token:
        page = search(page_token=page.token)
        yield from page


def superfluous(versions: Sequence[Version], name: str, keep: int | None) -> list[Version]:
    """Versions of the model `name` without an alias, to which no rollback goes, beyond the `keep` newest of these."""
    targets = {version.replaced for version in versions if version.name == name and "champion" in version.aliases}
    free = [v for v in versions if v.name == name and not v.aliases and v.number not in targets]
    return [] if keep is None else free[keep:]


def version_batch(store: Store, versions: Sequence[Version]) -> Batch:
    """Their entries in the registry; their files lie in their runs, which nothing protects any more."""

    def remove() -> None:
        for version in versions:
            store.client.delete_model_version(version.name, version.number)

    return Batch([Item("versions", str(each), 0, "no alias, and newer ones are enough") for each in versions], remove)


def locks_of(store: Store, versions: Iterable[Version]) -> Iterator[dict[str, Any]]:
    """The stages of each dvc.lock by which a version can be made again: its own, and its commit's.

    Raises:
        UserError: one cannot be read, so nothing tells what its version needs.
    """
    import mlflow

    (WORK / "tmp").mkdir(parents=True, exist_ok=True)
    for version in (each for each in versions if each.commit):
        fix = "restore its files or delete the version; until then nothing is removed"
        uri = f"{store.client.get_model_version_download_uri(version.name, version.number)}/{PROVENANCE}/{LOCK}"
        with tempfile.TemporaryDirectory(prefix="retain-", dir=WORK / "tmp") as folder:
            try:
                path = mlflow.artifacts.download_artifacts(uri, dst_path=folder, tracking_uri=store.client.tracking_uri)
            except (OSError, mlflow.MlflowException) as error:
                what = f"its {LOCK} cannot be read ({str(error).partition(chr(10))[0]})"
                raise UserError(f"models:/{version}", what, fix) from None
            yield read_stages(Path(path), fix)
            committed = Path(folder, "committed")
            show = ["git", "show", f"{version.commit}:{LOCK}"]
            done = subprocess.run(show, capture_output=True, check=False)
            if done.returncode == 0:
                committed.write_bytes(done.stdout)
                yield read_stages(committed, fix)

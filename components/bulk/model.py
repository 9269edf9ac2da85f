"""A registered version as batch scoring needs it: its graph, proven whole, and what it takes for a record."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.data.splits import Manifest, load_manifest
from components.publishing.named import find_named
from components.publishing.packages import LEVELS
from components.publishing.store import TAG, Store
from components.publishing.version import PROVENANCE, SCORER, SCORER_DIGEST
from components.runtime.errors import UserError
from components.runtime.outputs import sha256
from components.sources import Options


@dataclass(frozen=True)
class Model:
    """One version of a registered model."""

    name: str
    version: str
    digest: str
    """SHA-256 of the graph."""
    n: int
    """Calibration scores behind a p-value."""
    scorer: Path
    manifest: Manifest
    commit: str = ""
    """That it was made by; empty where it is not known."""

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"

    @property
    def takes(self) -> str:
        """A record, in words."""
        if self.manifest.kind == "table":
            return f"rows with {', '.join(column.name for column in self.manifest.columns)}"
        return f"{self.manifest.kind}s of {'x'.join(map(str, self.manifest.item_shape))} ({self.manifest.dtype})"

    @property
    def options(self) -> Options:
        """How the pictures were read that it was trained on."""
        kept = self.manifest.raw.get("options") or {}
        size = kept.get("image_size")
        return Options(tuple(size) if size else None, kept.get("channels", "auto"))


def fetch_model(store: Store, reference: str, folder: Path) -> Model:
    """Bring a version into a folder that is there, and prove that it arrived whole.

    Args:
        store: the tracking store.
        reference: NAME@ALIAS or NAME/NUMBER.
        folder: for its files.

    Raises:
        UserError: no such model, alias or version; its files cannot be read, or differ from what was registered.
    """
    import mlflow

    version = find_named(store, reference, "--model")
    number = str(version.version)
    uri = store.client.get_model_version_download_uri(version.name, number)
    fix = "restore its files, or score with another version"
    try:
        path = Path(mlflow.artifacts.download_artifacts(uri, dst_path=folder, tracking_uri=store.client.tracking_uri))
    except (OSError, mlflow.MlflowException) as error:
        reason = str(error).partition("\n")[0]
        raise UserError("--model", f"the files of {version.name}/{number} cannot be read ({reason})", fix) from None
    expected = version.tags.get(SCORER_DIGEST)
    if not expected:
        what = f"{version.name}/{number} was registered without the digest of its graph, so nothing proves it whole"
        raise UserError("--model", what, "register a new version with `python -m components.register`")
    if not (path / SCORER).is_file() or sha256(path / SCORER) != expected:
        what = f"{SCORER.name} of {version.name}/{number} is damaged, it is not the file that was registered"
        raise UserError("--model", what, fix)
    try:
        manifest = load_manifest(path / PROVENANCE)
        n = len(np.load(path / SCORER.with_name(LEVELS), allow_pickle=False))
    except UserError as error:
        raise UserError("--model", f"manifest.json of {version.name}/{number} {error.what}", fix) from None
    except (OSError, ValueError, EOFError):
        raise UserError("--model", f"{LEVELS} of {version.name}/{number} is missing or damaged", fix) from None
    commit = version.tags.get(f"{TAG}commit", "")
    return Model(version.name, number, expected, n, path / SCORER, manifest, commit)

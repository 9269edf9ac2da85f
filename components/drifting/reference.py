"""What a registered version expects of the records it sees, as `components.publishing.reference` wrote it."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.data.columns import Column
from components.data.splits import load_manifest
from components.publishing.listing import LISTING
from components.publishing.reference import REFERENCE
from components.publishing.store import Store
from components.publishing.version import PROVENANCE
from components.runtime.errors import UserError
from components.runtime.outputs import WORK, read_json
from components.scoring.conformal import Calibration


@dataclass(frozen=True)
class Reference:
    """The same, read."""

    calibration: Calibration
    codes: np.ndarray | None
    """(record, unit) float32."""
    columns: list[Column]
    """Of a table; empty otherwise."""
    missing: dict[str, float]
    """Column, then its share of empty cells in the data behind the version."""
    listing: np.ndarray | None = None
    """Of the records it has seen, as `components.publishing.listing` wrote it; None of a version without one."""


def load_reference(store: Store, version: str) -> Reference:
    """The reference of a registered version.

    Raises:
        UserError: the version has none, or its files cannot be read.
    """
    import mlflow

    uri = store.client.get_model_version_download_uri(store.name, version)
    (WORK / "tmp").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="reference-", dir=WORK / "tmp") as name:
        folder = Path(name)
        for part in (REFERENCE, PROVENANCE):
            try:
                mlflow.artifacts.download_artifacts(
                    f"{uri.rstrip('/')}/{part}", dst_path=name, tracking_uri=store.client.tracking_uri
                )
            except (OSError, mlflow.MlflowException) as error:
                what = f"version {version} of '{store.name}' has no readable folder {part} ({error})"
                raise UserError("drift", what, "restore it, or train and register a version anew") from None
        codes, listing = folder / REFERENCE / "codes.npy", folder / PROVENANCE / LISTING
        return Reference(
            Calibration.load(folder / REFERENCE),
            np.load(codes, allow_pickle=False) if codes.exists() else None,
            load_manifest(folder / PROVENANCE).columns,
            read_json(folder / REFERENCE / "missing.json", "register"),
            np.load(listing, allow_pickle=False) if listing.exists() else None,
        )

"""A version of the registered model: the winner's scorer.onnx in a small pyfunc, with all it takes to rebuild it."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.data.splits import PREPARED, load_manifest
from components.publishing.chosen import Chosen
from components.publishing.key import LOCK, PARAMS
from components.publishing.listing import LISTING, list_records
from components.publishing.packages import make_package
from components.publishing.reference import REFERENCE, write_reference
from components.publishing.results import Results
from components.publishing.runs import REQUIREMENTS, copy_file, provenance, staged
from components.publishing.store import KEY_TAG, TAG, Store
from components.runtime.outputs import sha256

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

PROVENANCE = "provenance"
"""Folder of a version, beside the model: dvc.lock, params.yaml, requirements.lock, manifest.json, listing.npy."""
SCORER = Path("artifacts/scorer.onnx")
"""Where MLflow puts the graph inside a version."""
SCORER_DIGEST = f"{TAG}scorer_sha256"
"""Tag of a version: the digest of its graph, by which a damaged copy is refused."""
_LONGEST_DESCRIPTION = 5000


def find_version(store: Store, results: Results) -> "ModelVersion | None":
    """The winner's version, if it has been registered."""
    key = results.version_key()
    found = store.client.search_model_versions(f"name = '{store.name}' AND tags.`{KEY_TAG}` = '{key}'")
    return found[0] if found else None


def publish_version(store: Store, results: Results, run_id: str) -> "ModelVersion":
    """Register the winner, with its files under its run."""
    from mlflow.exceptions import MlflowException

    with staged() as folder:
        model = folder / results.chosen.folder
        write_model(model, results.chosen)
        write_reference(model / REFERENCE, results.chosen)
        digest = sha256(model / SCORER)
        store.client.log_artifacts(run_id, str(folder))
    try:
        store.client.create_registered_model(store.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {f"{TAG}variant": results.winner, KEY_TAG: results.version_key(), SCORER_DIGEST: digest}
    # the key comes with the version in one call, so no interruption leaves a version that cannot be found again
    return store.client.create_model_version(
        store.name,
        f"{store.client.get_run(run_id).info.artifact_uri}/{results.chosen.folder}",
        run_id,
        tags=provenance(results) | tags,
        description=shortened(results.chosen.scorer.with_name("card.md").read_text(), _LONGEST_DESCRIPTION),
    )


def adopt_commit(store: Store, results: Results, version: "ModelVersion") -> bool:
    """Give a version made by uncommitted code the commit that now makes the same files; tell whether it is clean.

    A clean version keeps its commit, whatever the checkout looks like by now.
    """
    if version.tags.get(f"{TAG}dirty") != "true":
        return True
    if results.code.dirty:
        return False
    with staged() as folder:
        _write_provenance(folder / results.chosen.folder)
        store.client.log_artifacts(version.run_id, str(folder))
    # "dirty" goes last: until then the next run does all of it again
    for tag, value in sorted(provenance(results).items(), key=lambda item: item[0].endswith("dirty")):
        store.client.set_model_version_tag(store.name, version.version, tag, value)
    return True


def write_model(folder: Path, chosen: Chosen) -> None:
    """Write a scorer as an MLflow model: graph, alarm levels, script, signature, input example, pinned requirements,
    and where it comes from.
    """
    import mlflow
    import onnxruntime
    import pandas as pd

    with staged() as plain:
        package = make_package(chosen, load_manifest(), plain)
        mlflow.pyfunc.save_model(
            folder,
            python_model=package.script,
            artifacts=package.artifacts,
            model_config=package.config,
            signature=package.signature,
            input_example=package.example,
            # given, so that MLflow does not run the model in a second process to find out
            pip_requirements=[f"{m.__name__}=={m.__version__}" for m in (mlflow, np, onnxruntime, pd)],
        )
    _write_provenance(folder)


def _write_provenance(model: Path) -> None:
    for path in (LOCK, PARAMS, REQUIREMENTS, PREPARED / "manifest.json"):
        copy_file(path, model / PROVENANCE / path.name)
    np.save(model / PROVENANCE / LISTING, list_records(), allow_pickle=False)


def shortened(card: str, most: int) -> str:
    """The card as far as its whole sections fit into `most` characters, with a word on where the rest is."""
    if len(card) <= most:
        return card
    rest = "The sections behind this one are in card.md, among the files of this version's run.\n"
    kept, *sections = card.split("\n## ")
    for section in sections:
        if len(kept) + len("\n## ") + len(section) + len(rest) > most:
            break
        kept += f"\n## {section}"
    return kept + rest

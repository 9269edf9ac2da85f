"""What compare reads of every variant, and the refusal of anything that params.yaml does not name."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.runtime.errors import UserError
from components.runtime.outputs import read_json

FOLDERS = ("train", "seeds", "threshold", "evaluate", "export")
"""Stages that leave one folder per variant; compare depends on each as a whole."""


@dataclass(frozen=True)
class Candidate:
    """One variant: its numbers, as the stages before left them."""

    name: str
    config: dict[str, Any]
    threshold: dict[str, Any]
    metrics: dict[str, Any]
    diagnosis: list[dict[str, Any]]
    """What train and evaluate found, in this order."""
    parity: dict[str, Any]
    figures: tuple[Path, ...]
    """SVG files of the evaluation, by name."""

    @property
    def is_pca(self) -> bool:
        """Whether this is the yardstick itself: its error equals PCA's in every resample of the test records."""
        # sums over resamples may differ in their last bits
        ends = (self.metrics["mse_ratio_to_pca_low"], self.metrics["mse_ratio_to_pca_high"])
        return all(math.isclose(end, 1, rel_tol=1e-9) for end in ends)


def load_candidates(variants: Sequence[str], artifacts: Path) -> list[Candidate]:
    """Every variant, in the given order.

    Raises:
        UserError: there is no variant, one's result is missing or damaged, or a folder is left over from another.
    """
    if not variants:
        raise UserError("variants", "is empty", "name at least one variant, e.g. `pca: {model: pca}`")
    refuse_leftovers(variants, [artifacts / stage for stage in FOLDERS])
    return [_load(name, artifacts) for name in variants]


def _load(name: str, artifacts: Path) -> Candidate:
    evaluated = artifacts / "evaluate" / name
    found = [
        read_json(artifacts / stage / name / "diagnosis.json", f"{stage}@{name}") for stage in ("train", "evaluate")
    ]
    return Candidate(
        name=name,
        metrics=read_json(evaluated / "metrics.json", f"evaluate@{name}"),
        diagnosis=[*found[0], *found[1]],
        parity=read_json(artifacts / "export" / name / "parity.json", f"export@{name}"),
        threshold=read_json(artifacts / "threshold" / name / "threshold.json", f"threshold@{name}"),
        config=read_json(artifacts / "train" / name / "config.json", f"train@{name}"),
        figures=tuple(sorted((evaluated / "plots").glob("*.svg"))),
    )


def refuse_leftovers(names: Sequence[str], folders: Sequence[Path]) -> None:
    """Refuse results of variants, or baselines, that are not named.

    Raises:
        UserError: one of the folders holds another one's.
    """
    # DVC hashes these folders as a whole, so a leftover would stay in the digest of this stage and in no table
    found = [path for folder in folders for path in sorted(folder.glob("*/"))]
    left = [str(path) for path in found if path.name not in names]
    if left:
        raise UserError(
            left[0],
            "is left over from an entry that params.yaml does not name",
            "run `python -m flows.running.prune`, which also cleans dvc.lock",
        )

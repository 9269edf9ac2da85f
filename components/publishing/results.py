"""What the stages left, and the proof that dvc.lock describes it: nothing else may be published.

A result is keyed by the digests of its files as dvc.lock has them, so equal bytes are one run and one version,
whichever commit, door or machine made them.
"""

import functools
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.data.splits import Manifest, load_manifest
from components.params import load_section, read_params
from components.publishing.chosen import Chosen
from components.publishing.dvc_lock import dvc_md5, look_up, read_stages
from components.publishing.key import LOCK, CodeState, code_state
from components.runtime.errors import UserError
from components.runtime.outputs import ARTIFACTS, read_json

CHAIN = ("train", "threshold", "evaluate", "export", "compress")
# data is not hashed again: it may be large, and a stage that read other data than dvc.lock names left other results
_UNCHECKED = (str(ARTIFACTS / "ingest"), str(ARTIFACTS / "prepare"))


@dataclass(frozen=True)
class Results:
    """One pipeline's results, as they lie in artifacts/."""

    stages: dict[str, Any]
    """dvc.lock's stages."""
    lock_digest: str
    variants: tuple[str, ...]
    leaderboard: dict[str, Any]
    manifest: Manifest
    data_digest: str
    code: CodeState
    analysed: tuple[str, ...]
    """The variants with results of `analyse`."""
    publish: str
    """Which of the winner's scorers is registered."""

    @property
    def winner(self) -> str:
        """The variant that compare chose."""
        return self.leaderboard["winner"]

    @property
    def chosen(self) -> Chosen:
        """What of the winner is registered."""
        return Chosen(self.winner, self.publish)

    def version_key(self) -> str:
        """Content hash of the winner's chain of results, and of which of its scorers is registered."""
        return hashlib.sha256(f"{self.variant_key(self.winner)} {self.publish}".encode()).hexdigest()

    def variant_key(self, variant: str) -> str:
        """Content hash of one variant's chain of results."""
        return self._key(f"{stage}@{variant}" for stage in CHAIN)

    def analysis_key(self, variant: str) -> str:
        """Content hash of what `analyse` found of one variant, which is no part of its chain: it decides nothing."""
        return self._key([f"analyse@{variant}"])

    def pipeline_key(self) -> str:
        """Content hash of all variants' results and their comparison."""
        return self._key([*(f"{stage}@{variant}" for variant in self.variants for stage in CHAIN), "compare"])

    def _key(self, stages: Iterable[str]) -> str:
        outs = {out["path"]: out["md5"] for stage in stages for out in self.stages[stage]["outs"]}
        return hashlib.sha256(json.dumps(outs, sort_keys=True).encode()).hexdigest()


def load_results() -> Results:
    """Read the checkout's results.

    Raises:
        UserError: results are missing, or differ from what dvc.lock says of them, or the compressed scorer that is to
            be registered does not hold its limits.
    """
    params = read_params()
    variants = tuple(params["variants"])
    stages = _read_lock()
    analysed = tuple(load_section("analyse", params).variants)
    chains = [f"{stage}@{variant}" for variant in variants for stage in CHAIN]
    beside = [f"baseline@{name}" for name in params["baselines"]] + [f"analyse@{variant}" for variant in analysed]
    _check(stages, [*chains, *beside, "compare"], params)
    leaderboard = read_json(ARTIFACTS / "compare/leaderboard.json", "compare")
    _refuse_broken_limits(leaderboard["winner"])
    config = read_json(ARTIFACTS / "train" / variants[0] / "config.json", f"train@{variants[0]}")
    return Results(
        stages,
        hashlib.sha256(LOCK.read_bytes()).hexdigest(),
        variants,
        leaderboard,
        load_manifest(),
        config["data_digest"],
        code_state(),
        analysed,
        load_section("export", params).publish,
    )


def _refuse_broken_limits(winner: str) -> None:
    # other gates keep a version from leading; a file that is not what was asked for is not even registered
    gate = read_json(ARTIFACTS / "compare/gates.json", "compare").get(winner, {}).get("compression")
    if gate and gate["verdict"] == "fail":
        fix = "publish float32 or another method, or change the limits in compress.methods"
        raise UserError("export.publish", gate["text"], fix)


def _read_lock() -> dict[str, Any]:
    if not LOCK.exists():
        raise UserError(str(LOCK), "is missing, there are no results to publish", "run `dvc repro` first")
    return read_stages(LOCK, "restore it from git, or delete it and run `dvc repro`")


def _check(stages: dict[str, Any], names: Iterable[str], params: dict[str, Any]) -> None:
    """Compare params and files with dvc.lock, which is DVC's own rule for "up to date"."""
    md5 = functools.cache(dvc_md5)
    for name in names:
        if name not in stages:
            raise UserError(str(LOCK), f"has no stage '{name}'", "run `dvc repro` first")
        stage = stages[name]
        for key, value in stage.get("params", {}).get("params.yaml", {}).items():
            if look_up(params, key) != value:
                raise UserError(f"params.yaml {key}", f"changed after {name} ran", "run `dvc repro` first")
        for entry in (*stage.get("deps", ()), *stage.get("outs", ())):
            if entry["path"].startswith(_UNCHECKED):
                continue
            if md5(Path(entry["path"])) != entry["md5"]:
                what = f"is not the file that {LOCK} names for {name}"
                raise UserError(entry["path"], what, "run `dvc repro` first")

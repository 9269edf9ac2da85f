"""What the benchmark of compression measures reaches the variant's run in MLflow, and no artifact.

Reference: digests of artifacts/ from before.
"""

import hashlib
from pathlib import Path

import pytest
from publications import MLFLOWS_OWN, enter, relock, runs

from components.compress import compress
from components.params.compress import Params as CompressParams
from components.params.register import Params
from components.register import publish
from components.runtime.errors import UserError
from tests.benchmarks import compression

pytestmark = [pytest.mark.filterwarnings(warning) for warning in MLFLOWS_OWN]


def digests() -> dict[str, str]:
    files = [path for path in sorted(Path("artifacts").rglob("*")) if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_speeds_reach_the_run_of_the_variant_and_no_artifact(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(checkout, monkeypatch)
    monkeypatch.setattr(compression, "BATCHES", {1: 2, 8: 2})
    monkeypatch.setattr(compression, "ROUNDS", 3)
    compress("pca", CompressParams(methods={"int8_dynamic": None}), opset=20, seed=7, threads=1)
    relock()
    before = digests()
    with pytest.raises(UserError, match=r"^MLflow, pca: has no run of these results; run `python -m components\.reg"):
        compression.main("pca")
    publish(Params())
    compression.main("pca")
    found = {name: value for name, value in runs()["pca"].data.metrics.items() if name.startswith("speed.")}
    asked = {f"speed.{name}.batch_{batch}_ms" for name in ("float32", "int8_dynamic") for batch in (1, 8)}
    asked |= {f"speed.int8_dynamic.batch_{batch}_of_float32" for batch in (1, 8)}
    assert asked <= found.keys() and all(found[name] > 0 for name in asked)
    assert digests() == before

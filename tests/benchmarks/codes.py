"""What the cache of codes is worth: jobs of `components.score` with an empty cache, a full one, and none.

HOURGLASS_BENCH_CODES (100,000) made images of 28x28, and a tenth of them to look for the neighbours of; autoencoders
with random weights and one process of one thread, since speed asks for no better. Every job is all of `score_with`:
input read and digested, parts written and copied, the page drawn.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import numpy as np

from components.bulk.model import Model
from components.bulk.options import Request
from components.coding.cache import CODES, VARIABLE
from components.data.splits import PREPARED
from components.runtime.outputs import sha256
from components.score import score_with
from tests.benchmarks.ratios import Ratio
from tests.benchmarks.scoring import MANIFEST, N, write_scorer

RECORDS = int(os.environ.get("HOURGLASS_BENCH_CODES", "100000"))
ROUNDS = 3
TRAIN = PREPARED / "train.npy"


def measure() -> list[Ratio]:
    """Both models, every job in turn."""
    found = []
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        PREPARED.mkdir(parents=True)
        generator = np.random.default_rng(0)
        for path, records in ((TRAIN, RECORDS), (Path("few.npy"), RECORDS // 10)):
            np.save(path, generator.integers(0, 256, (records, 1, 28, 28), dtype=np.uint8))
        for name in ("vanilla", "conv"):
            path = Path(f"{name}.onnx")
            write_scorer(path, name)
            manifest = replace(MANIFEST, digests={TRAIN.name: sha256(TRAIN)})
            found += _of(Model(name, "1", sha256(path), N, path, manifest))
    return found


def _of(model: Model) -> list[Ratio]:
    codes, near = Request(str(TRAIN), codes=True, jobs=1), Request("few.npy", neighbours=5, jobs=1)
    scores = Request(str(TRAIN), jobs=1)
    rounds = []
    for _ in range(ROUNDS):
        seconds = {"none": _seconds(model, codes, mib="0"), "empty": _seconds(model, codes, _empty)}
        seconds["full"] = _seconds(model, codes)
        seconds |= {"near, none": _seconds(model, near, mib="0"), "near, empty": _seconds(model, near, _empty)}
        seconds["near, full"] = _seconds(model, near)
        seconds["with"] = _seconds(model, replace(scores, with_codes=True))
        seconds["without"] = _seconds(model, scores)
        rounds.append(seconds)
        print(model.name, ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items()), flush=True)

    def ratio(claim: str, ours: str, theirs: str, bound: float, at_least: bool = True) -> Ratio:
        return Ratio(f"{model.name}: {claim}", tuple(each[theirs] / each[ours] for each in rounds), bound, at_least)

    return [
        ratio("codes with a full cache against none", "full", "none", 1.2),
        ratio("codes with an empty cache against none", "empty", "none", 0.8),
        ratio("codes alone against scores with codes", "none", "with", 1.5),
        ratio("neighbours with a full cache against none", "near, full", "near, none", 1.0),
        ratio("scores against scores with codes, in seconds", "without", "with", 1.1, at_least=False),
    ]


def _empty() -> None:
    shutil.rmtree(CODES, ignore_errors=True)


def _seconds(model: Model, request: Request, before: Callable[[], None] = lambda: None, mib: str = "") -> float:
    """CPU seconds of this process, which other load does not change as it does wall time."""
    before()
    shutil.rmtree("out", ignore_errors=True)
    os.environ.pop(VARIABLE, None)
    if mib:
        os.environ[VARIABLE] = mib
    started = time.process_time()
    score_with(model, replace(request, out=Path("out")), threads=1)
    return time.process_time() - started

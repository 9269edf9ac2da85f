"""The exported scorer in onnxruntime against the plain eager detector loop, on 28x28 images.

Ours is one call of scorer.onnx: scaling, reconstruction, score, p-value and decision. Theirs takes the same raw records
in batches of 128 through the same network in PyTorch: scaling, forward, squared error of each record, a comparison
with a threshold; it has no p-value. Random weights, since speed asks for no better, and 1,000 calibration scores.

Both run on one thread in one process, in turn, and what is compared is the best of a few runs of each round. Spinning
is off, and there is one session at a time, so that no thread waits on the core that the other side needs.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from components.data.scaling import Scale
from components.data.splits import Manifest, Scaling
from components.exporting.onnx_files import cut, export_onnx, save_onnx
from components.exporting.scorer import INPUT, OUTPUTS, Scorer
from components.models import Autoencoder
from components.scores.reconstruction import SCORE
from components.scoring.detector import Detector
from tests.benchmarks.loops import BATCH, network
from tests.benchmarks.ratios import Ratio, interleaved

THREADS, ROUNDS = 1, 15
LARGEST = 4096
PIECE = 128
"""Records per call where a large batch is handed over in pieces that stay in the cache."""
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "vanilla 784-512-256-128-32": ("vanilla", {"latent_dim": 32}),
    "vanilla 784-256-128-8": ("vanilla", {"latent_dim": 8, "hidden": [256, 128]}),
    "conv of 32 channels": ("conv", {"latent_dim": 32}),
}
"""The models' defaults, and params.yaml's."""
MANIFEST = Manifest(
    "image", [1, 28, 28], "uint8", [], [], {}, [0, 255], Scaling([0.0], [255.0]), {},
    {"name": "made", "version": "1"}, {},
)  # fmt: skip
ANSWER = ["score", "p_value", "is_anomaly"]
N, THRESHOLD = 1000, 0.15


@dataclass(frozen=True)
class Case:
    """One line of the result."""

    claim: str
    records: int
    bound: float
    runs: int
    """In each round, on each side."""
    piece: int = LARGEST
    at_least: bool = True
    """The ratio is of records per second; else of latency."""


CASES = (
    Case("records/s at batch 4,096, one call", LARGEST, 3, 3),
    Case(f"records/s of 4,096 records in calls of {PIECE}", LARGEST, 3, 3, piece=PIECE),
    Case("latency at batch 1", 1, 1 / 3, 300, at_least=False),
)


def write_scorer(model: Autoencoder, path: Path) -> None:
    """What the stage `export` writes."""
    detector = Detector(model, {"reconstruction": SCORE.build(SCORE.params(), MANIFEST.item, {})}, "log_sum", {})
    scorer = Scorer(Scale(MANIFEST), detector, torch.linspace(0.05, 0.15, N), N // 20)
    whole = export_onnx(scorer, torch.zeros((2, *MANIFEST.item_shape), dtype=torch.uint8), opset=20)
    save_onnx(cut(whole, [INPUT], OUTPUTS)[path.name], path)


def open_scorer(path: Path) -> onnxruntime.InferenceSession:
    """As docs/serving.md recommends it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def ours(session: onnxruntime.InferenceSession, records: np.ndarray, piece: int) -> None:
    """Score records (record, 1, 28, 28) uint8."""
    for start in range(0, len(records), piece):
        session.run(ANSWER, {INPUT: records[start : start + piece]})


def theirs(model: Autoencoder, records: torch.Tensor) -> None:
    """Score the same records as tutorials do."""
    for batch in records.split(BATCH):
        with torch.no_grad():
            x = batch.float() / 255
            reconstruction, _ = model(x)
            errors = (x - reconstruction).pow(2).mean(dim=(1, 2, 3))
            (errors > THRESHOLD).numpy(), errors.numpy()


def fastest(run: Callable[[], None], runs: int) -> float:
    """Seconds of the best of a few runs: what others do on the machine only adds to them."""
    spent = []
    for _ in range(runs):
        started = time.perf_counter()
        run()
        spent.append(time.perf_counter() - started)
    return min(spent)


def measure() -> list[Ratio]:
    """Every case for every network."""
    torch.set_num_threads(THREADS)
    images = np.random.default_rng(0).integers(0, 256, (LARGEST, *MANIFEST.item_shape), dtype=np.uint8)
    lines = []
    for name, (model, params) in NETWORKS.items():
        built = network(model, **params).eval()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "scorer.onnx"
            write_scorer(built, path)
            session = open_scorer(path)
        for case in CASES:
            records = images[: case.records]
            us = partial(fastest, partial(ours, session, records, case.piece), case.runs)
            them = partial(fastest, partial(theirs, built, torch.from_numpy(records)), case.runs)
            # seconds turn round as records per second
            sides = (them, us) if case.at_least else (us, them)
            lines.append(Ratio(f"{name}: {case.claim}", interleaved(ROUNDS, *sides), case.bound, case.at_least))
    return lines

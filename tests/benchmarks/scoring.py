"""Batch scoring against the bare loop, and what memory it takes.

HOURGLASS_BENCH_RECORDS (1,000,000) made images of 28x28 in one .npy file; a vanilla autoencoder with random weights and
10,000 calibration scores, since speed asks for no better. Ours is all of `score_with`: processes started, input read
and digested, parts written twice and brought to the disk, the page drawn. Theirs is `session.run` on an array in
memory, with onnxruntime's own choice of threads; once before and once after ours. Memory is the resident set of all
processes together, every 50 ms, so what they share counts for each.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from ruamel.yaml import YAML

from components.bulk.model import Model
from components.bulk.options import Request
from components.data.splits import Manifest, Scaling
from components.runtime.outputs import sha256
from components.score import score_with
from tests.benchmarks.ratios import Ratio

RECORDS = int(os.environ.get("HOURGLASS_BENCH_RECORDS", "1000000"))
BATCH = 1024
N = 10_000
MANIFEST = Manifest(
    "image", [1, 28, 28], "uint8", [], [], {}, [0, 255], Scaling([0.0], [255.0]), {},
    {"name": "made", "version": "1"}, {},
)  # fmt: skip


def write_scorer(path: Path, model: str = "vanilla") -> None:
    """An exported scorer; in the parent alone, because it takes torch."""
    import torch

    from components.data.scaling import Scale
    from components.exporting.onnx_files import cut, export_onnx, save_onnx
    from components.exporting.scorer import INPUT, OUTPUTS, Scorer
    from components.models import Blueprint
    from components.scores.reconstruction import SCORE
    from components.scoring.detector import Detector

    torch.manual_seed(0)
    network = Blueprint(model, {"latent_dim": 16}, None, None, MANIFEST.item, "bce").build()
    score = SCORE.build(SCORE.params(), MANIFEST.item, {})
    detector = Detector(network, {"reconstruction": score}, "log_sum", {}).eval()
    calibration = torch.linspace(0.05, 0.15, N)
    scorer = Scorer(Scale(MANIFEST), detector, calibration, N // 20)
    whole = export_onnx(scorer, torch.zeros((2, 1, 28, 28), dtype=torch.uint8), opset=20)
    save_onnx(cut(whole, [INPUT], OUTPUTS)["scorer.onnx"], path)


def write_images(path: Path) -> None:
    """Noise (record, 28, 28) uint8, written a little at a time."""
    generator = np.random.default_rng(0)
    head = {"descr": "|u1", "fortran_order": False, "shape": (RECORDS, 28, 28)}
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, head)
        for start in range(0, RECORDS, 10_000):
            stream.write(generator.integers(0, 256, (min(10_000, RECORDS - start), 28, 28), dtype=np.uint8).data)


def theirs(scorer: Path, images: Path) -> float:
    """Seconds of the bare loop."""
    import onnxruntime

    records = np.load(images)[:, None]
    session = onnxruntime.InferenceSession(scorer, providers=["CPUExecutionProvider"])
    started = time.perf_counter()
    for start in range(0, RECORDS, BATCH):
        session.run(["score", "p_value", "is_anomaly"], {"input": records[start : start + BATCH]})
    return time.perf_counter() - started


def ours(scorer: Path, images: Path) -> tuple[float, float]:
    """Seconds of batch scoring, and peak MiB of it and its processes."""
    peak = 0
    command = [sys.executable, "-m", "tests.benchmarks.scoring", str(scorer), str(images)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        process = psutil.Process(child.pid)
        while child.poll() is None:
            peak = max(peak, resident(process))
            time.sleep(0.05)
        printed = child.stdout.read()
    if child.returncode:
        sys.exit(f"{' '.join(command)} ended with {child.returncode}")
    return float(printed.split()[-1]), peak / (1 << 20)


def resident(process: psutil.Process) -> int:
    """Bytes of a process and all that it started."""
    total = 0
    for member in (process, *process.children(recursive=True)):
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def measure() -> list[Ratio]:
    """Both, in turn, on the same file."""
    with tempfile.TemporaryDirectory() as folder:
        scorer, images = Path(folder) / "scorer.onnx", Path(folder) / "images.npy"
        write_scorer(scorer)
        write_images(images)
        before = theirs(scorer, images)
        seconds, peak = ours(scorer, images)
        after = theirs(scorer, images)
    print(f"{RECORDS:,} records: bare loop {before:.1f} s and {after:.1f} s, batch scoring {seconds:.1f} s", flush=True)
    return [
        Ratio("records/s of batch scoring against the bare loop", (before / seconds, after / seconds), 0.8),
        Ratio("resident memory of batch scoring, all processes", (peak,), 1024, at_least=False, unit=" MiB"),
    ]


def main() -> None:
    """In the child: score, and print the seconds."""
    scorer, images = map(Path, sys.argv[1:])
    model = Model("bench", "1", sha256(scorer), N, scorer, MANIFEST)
    threads = YAML(typ="safe").load(Path("params.yaml").read_text())["threads"]
    started = time.perf_counter()
    score_with(model, Request(str(images), out=images.with_name("scores"), fdr=0.1), threads)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()

"""Every stage on more records than it may hold: anonymous memory, disk, and the speed of training in blocks.

HOURGLASS_BENCH_GIB (8) of grey images of 96x128 bytes, as large as 64x64 in colour, are made in TMPDIR, which needs
three times that room: the source's own files, what ingest keeps and what prepare deals. Each stage runs by `dvc repro`;
what is quoted is the RssAnon of DVC and stage together, every 50 ms (pages of mapped files are the kernel's to drop).
The speed of training is compared on 1 GiB of the records, read anew from a file that the page cache has forgotten.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from components.data.item import Item
from components.models import Blueprint
from components.params.train import Params
from components.training.checkpoint import Checkpoints
from components.training.records import Blocks, InMemory, Records
from components.training.trainer import Trainer
from tests.benchmarks.ratios import Ratio, interleaved

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import environment, make_checkout

HEIGHT, WIDTH, CHUNK = 96, 128, 2048
RECORD = HEIGHT * WIDTH
BOUND = 2048.0  # MiB
ROUNDS, WINDOWS, PORTION = 3, 256 << 20, 1 << 30
SIZES = {"latent_dim": 16, "hidden": [32]}
STAGES = ("ingest", "prepare", "resolve", "train@vanilla", "threshold@vanilla", "evaluate@vanilla", "export@vanilla",
          "compare")  # fmt: skip
PARAMS: dict[str, Any] = {
    "variants": {"vanilla": {"model": "vanilla", **SIZES}},
    "prepare": {"normal_classes": None},
    "train": {"epochs": 1, "precision": "float32", "schedule": "constant", "learning_rate": 0.001},
    "evaluate": {"bootstrap": 1000},
}


def pictures(count: int) -> Iterator[np.ndarray]:
    """Grey images with sixteen directions and noise, so that a code of 16 pays: chunks (record, height, width)."""
    generator = np.random.default_rng(0)
    basis = generator.normal(size=(16, RECORD)).astype(np.float32)
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        smooth = 112 + generator.normal(size=(size, 16)).astype(np.float32) * 6 @ basis
        noise = generator.integers(0, 32, (size, RECORD), dtype=np.uint8)
        yield (np.clip(smooth, 0, 223).astype(np.uint8) + noise).reshape(size, HEIGHT, WIDTH)


def write_idx(folder: Path, count: int) -> None:
    """One idx file of `count` images."""
    folder.mkdir()
    with (folder / "train-images-idx3-ubyte").open("wb") as stream:
        stream.write(bytes((0, 0, 8, 3)) + b"".join(size.to_bytes(4, "big") for size in (count, HEIGHT, WIDTH)))
        for chunk in pictures(count):
            stream.write(chunk.data)


def anonymous(process: psutil.Process) -> int:
    """RssAnon of a process and all that it started, in bytes."""
    total = 0
    for member in (process, *process.children(recursive=True)):
        try:
            status = Path(f"/proc/{member.pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("RssAnon"))
    return total


def run(checkout: Path, command: tuple[str, ...]) -> tuple[float, float]:
    """Seconds and peak MiB of a command that has to succeed."""
    started, peak = time.perf_counter(), 0
    with subprocess.Popen(command, cwd=checkout, env=environment(), stdout=subprocess.DEVNULL) as child:
        process = psutil.Process(child.pid)
        while child.poll() is None:
            peak = max(peak, anonymous(process))
            time.sleep(0.05)
    if child.returncode:
        sys.exit(f"{' '.join(command)} ended with {child.returncode}")
    return time.perf_counter() - started, peak / (1 << 20)


def on_disk(*folders: Path) -> int:
    """Bytes of all files below, each inode once."""
    stats = [path.stat() for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sum({(stat.st_dev, stat.st_ino): stat.st_blocks * 512 for stat in stats}.values())


def stages(checkout: Path) -> Iterator[Ratio]:
    """Peak memory of each stage, and what DVC's cache takes beyond the artifacts it shares files with."""
    print(f"{'stage':20}{'seconds':>9}{'peak anonymous MiB':>20}{'GiB on disk':>13}", flush=True)
    commands = {stage: ("dvc", "repro", "-q", "--single-item", stage) for stage in STAGES}
    for stage, command in (commands | {"register": (sys.executable, "-m", "components.register")}).items():
        seconds, peak = run(checkout, command)
        gib = on_disk(checkout / "artifacts", checkout / ".dvc") / (1 << 30)
        print(f"{stage:20}{seconds:9.1f}{peak:20.0f}{gib:13.2f}", flush=True)
        yield Ratio(f"peak anonymous memory of {stage}", (peak,), BOUND, at_least=False, unit=" MiB")
    artifacts = on_disk(checkout / "artifacts")
    both = on_disk(checkout / "artifacts", checkout / ".dvc")
    yield Ratio("artifacts and DVC's cache on disk, against artifacts alone", (both / artifacts,), 1.05, at_least=False)


def speed(records: Records, validation: Records) -> float:
    """Records per second of one epoch."""
    torch.manual_seed(0)
    network = Blueprint("vanilla", SIZES, None, None, Item((1, HEIGHT, WIDTH), True), "bce").build()
    trainer = Trainer(network, Unit(), Params(epochs=1, schedule="constant"), 0, "float32", "bench")
    speeds: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        log = lambda epoch: speeds.append(epoch.records_per_second)  # noqa: E731 - one line says it
        trainer.fit(records, validation, Checkpoints("bench", "key", Path(folder)), log)
    return speeds[0]


class Unit(torch.nn.Module):
    """0..255 to 0..1, as the manifest's scaling does."""

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        return raw.float() * (1 / 255)


def throughput(path: Path) -> Ratio:
    """Training in blocks from a cold file against the same records in memory, one thread each."""
    torch.set_num_threads(1)
    count = PORTION // RECORD
    held = InMemory(torch.from_numpy(np.load(path, mmap_mode="r")[:count].copy()))
    few = InMemory(held.records[:256])

    def in_blocks() -> float:
        with path.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return speed(Blocks(np.load(path, mmap_mode="r")[:count], WINDOWS, torch.device("cpu")), few)

    rounds = interleaved(ROUNDS, in_blocks, partial(speed, held, few))
    return Ratio(f"records/s of training in blocks from disk against {len(held):,} records in memory", rounds, 0.8)


def measure() -> list[Ratio]:
    """Memory and disk of the whole chain, then the speed of training."""
    count = int(float(os.environ.get("HOURGLASS_BENCH_GIB", "8")) * (1 << 30) / RECORD)
    with tempfile.TemporaryDirectory() as folder:
        write_idx(Path(folder) / "source", count)
        ingest = {"source": "idx", "path": str(Path(folder) / "source")}
        checkout = make_checkout(Path(folder) / "checkout", ingest=ingest, **PARAMS)
        return [*stages(checkout), throughput(checkout / "artifacts" / "prepare" / "train.npy")]

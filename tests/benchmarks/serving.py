"""`mlflow models serve` under load: requests/s, how long one takes, errors, and whether memory grows.

A vanilla autoencoder for 28x28 with random weights and 10,000 calibration scores, since speed asks for no better, is
registered in a store of its own and served from there by its alias. 8 clients in this process keep one connection each
and send the next request as soon as they have read the answer, HOURGLASS_BENCH_SECONDS (60) for each case: 1 and 64
records, decisions alone (`params.outputs`) and everything the graph says, which is what a request gets that names
nothing. Memory is the resident set of the server and its children.
"""

import http.client
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil

from components.data.splits import SPLITS
from components.runtime.outputs import write_json
from components.scoring.conformal import Calibration
from tests.benchmarks.ratios import Ratio
from tests.benchmarks.scoring import MANIFEST, N, resident, write_scorer

sys.path.insert(0, str(Path(__file__).parents[1]))
from made_versions import enter_registry, register
from serving import Server, running

SECONDS = float(os.environ.get("HOURGLASS_BENCH_SECONDS", "60"))
CLIENTS = 8
WARM = 10
"""Seconds after which memory counts as reached."""
NOISE = 32
"""MiB that a heap may breathe."""
DECISIONS = {"params": {"outputs": ["score", "p_value", "is_anomaly"]}}
CASES = {
    "1 record, decisions": (1, DECISIONS),
    "64 records, decisions": (64, DECISIONS),
    "1 record, everything": (1, {}),
    "64 records, everything": (64, {}),
}


@dataclass(frozen=True)
class Load:
    """What came of a case."""

    seconds: list[float]
    """Of each request that was answered."""
    errors: int
    memory: tuple[float, float, float]
    """MiB at the start, after WARM seconds, at the end."""

    def __str__(self) -> str:
        p50, p99 = np.percentile(self.seconds, [50, 99]) * 1000
        memory = ", ".join(f"{value:.0f}" for value in self.memory)
        rate = len(self.seconds) / SECONDS
        return f"{rate:.0f} requests/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms, {self.errors} errors, {memory} MiB"


def measure() -> list[Ratio]:
    """Every case in turn, against one server."""
    found = []
    generator = np.random.default_rng(0)
    with _server() as server:
        for name, (records, params) in CASES.items():
            images = generator.integers(0, 256, (records, 1, 28, 28))
            load = _load(server, json.dumps({"inputs": images.tolist(), **params}).encode())
            print(f"{name}: {load}", flush=True)
            growth = load.memory[2] - load.memory[1]
            found += [
                Ratio(f"{name}: errors", (load.errors,), 0, at_least=False, unit=""),
                Ratio(f"{name}: growth from {WARM} s to the end", (growth,), NOISE, at_least=False, unit=" MiB"),
            ]
    return found


@contextmanager
def _server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        root = Path(folder)
        enter_registry(root)
        _make(root / "artifacts")
        register("vanilla")
        shutil.rmtree("artifacts")
        store = f"sqlite:///{root / 'mlflow.db'}"
        with running("models:/hourglass@champion", root / "server.log", MLFLOW_TRACKING_URI=store) as server:
            yield server


def _make(artifacts: Path) -> None:
    """What publishing needs."""
    (artifacts / "prepare").mkdir(parents=True)
    write_json(artifacts / "prepare/manifest.json", MANIFEST.to_json())
    write_json(artifacts / "prepare/validation.json", {"missing": {}})
    for seed, split in enumerate(SPLITS):
        images = np.random.default_rng(seed).integers(0, 256, (4, 1, 28, 28), dtype=np.uint8)
        np.save(artifacts / f"prepare/{split}.npy", images)
    for folder in ("export/vanilla", "threshold/vanilla"):
        (artifacts / folder).mkdir(parents=True)
    write_scorer(artifacts / "export/vanilla/scorer.onnx")
    scores = np.linspace(0.05, 0.15, N, dtype=np.float32)
    Calibration.fit(scores, 0.05).save(artifacts / "threshold/vanilla")


def _load(server: Server, body: bytes) -> Load:
    """Eight clients for a while."""
    process = psutil.Process(server.pid)
    seconds: list[float] = []
    errors: list[str] = []
    before = resident(process)
    stop = time.monotonic() + SECONDS
    clients = [threading.Thread(target=_client, args=(server.url, body, stop, seconds, errors)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(min(WARM, SECONDS / 2))
    warm = resident(process)
    for client in clients:
        client.join()
    if errors:
        print(errors[0], flush=True)
    memory = tuple(value / (1 << 20) for value in (before, warm, resident(process)))
    return Load(seconds, len(errors), memory)


def _client(url: str, body: bytes, stop: float, seconds: list[float], errors: list[str]) -> None:
    """One after the other on one connection."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    while time.monotonic() < stop:
        began = time.perf_counter()
        try:
            connection.request("POST", parts.path, body, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            text = reply.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            errors.append(repr(error))
            continue
        if reply.status == http.client.OK:
            seconds.append(time.perf_counter() - began)
        else:
            errors.append(text[:300].decode())
    connection.close()

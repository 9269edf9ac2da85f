"""Compressed scorers against the exported one: latency at batch 1, 64 and 4,096, and records per second.

    python -m tests.benchmarks compression                     of the study (`make study-compression` first)
    python -m tests.benchmarks.compression --publish VARIANT   of this checkout

Sizes and accuracies are read from the artifacts, whose table does not depend on the machine; speeds are measured here,
each round the exported scorer and the compressed one in turn, on one thread that does not spin while it waits. Either
way they are logged to the variant's run in MLflow, as `speed.METHOD.batch_B_ms` and `..._of_float32`.
"""

import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime

from components.runtime.errors import UserError, run_main
from tests.benchmarks.ratios import Ratio

STUDY = Path(__file__).parents[2] / ".work/studies/compression"
BATCHES = {1: 200, 64: 40, 4096: 3}
"""Records in a batch, then batches per round."""
ROUNDS = 7
ANSWER = ["score", "p_value", "is_anomaly"]
FASTER = 1.4
"""Asked of INT8 on dense networks, at the batches that are bound by arithmetic."""


class Speeds:
    """Seconds per batch of the scorers of one variant, measured side by side.

    Args:
        checkout: where artifacts/ lies.
        variant: of the arrays or images in it.
    """

    def __init__(self, checkout: Path, variant: str) -> None:
        artifacts = checkout / "artifacts"
        self.table = json.loads((artifacts / "compress" / variant / "compression.json").read_text())
        self.methods = [method for method, row in self.table.items() if "faults" in row]
        records = np.load(artifacts / "prepare/test.npy", mmap_mode="r")
        exported = _runner(artifacts / "export" / variant / "scorer.onnx", records)
        self.seconds: dict[tuple[str, int], list[tuple[float, float]]] = {}
        """(exported, compressed) by method and batch, for each round."""
        for method in self.methods:
            compressed = _runner(artifacts / "compress" / variant / method / "scorer.onnx", records)
            for batch, times in BATCHES.items():
                pairs = [(exported(batch, times), compressed(batch, times)) for _ in range(1 + ROUNDS)]
                self.seconds[method, batch] = pairs[1:]  # the first warms up

    def ratios(self, method: str, batch: int) -> tuple[float, ...]:
        """How many times as fast as the exported scorer, by round."""
        return tuple(theirs / ours for theirs, ours in self.seconds[method, batch])

    def milliseconds(self, method: str, batch: int, exported: bool = False) -> float:
        """Median of the rounds, per batch."""
        return 1000 * statistics.median(pair[not exported] for pair in self.seconds[method, batch])

    def metrics(self) -> dict[str, float]:
        """Name in MLflow, then the median of the rounds: milliseconds, and how many times as fast as float32."""
        found = {
            f"speed.float32.batch_{batch}_ms": self.milliseconds(self.methods[0], batch, exported=True)
            for batch in BATCHES
        }
        for method, batch in self.seconds:
            name = f"speed.{method}.batch_{batch}"
            found[f"{name}_ms"] = self.milliseconds(method, batch)
            found[f"{name}_of_float32"] = statistics.median(self.ratios(method, batch))
        return found

    def lines(self, variant: str) -> list[str]:
        """Rows of a Markdown table: milliseconds and ratio at every batch, and records per second at the largest."""
        largest = max(BATCHES)
        first = [f"{self.milliseconds(self.methods[0], batch, exported=True):.3g}" for batch in BATCHES]
        rows = [[variant, "float32", *first, f"{largest / float(first[-1]) * 1000:,.0f}"]]
        for method in self.methods:
            cells = [
                f"{self.milliseconds(method, batch):.3g} ({statistics.median(self.ratios(method, batch)):.2f}x)"
                for batch in BATCHES
            ]
            rows.append([variant, method, *cells, f"{largest / self.milliseconds(method, largest) * 1000:,.0f}"])
        return [f"| {' | '.join(row)} |" for row in rows]


def _runner(path: Path, records: np.ndarray) -> Callable[[int, int], float]:
    """(records per batch, batches) to the median of the seconds that a batch took."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def seconds(batch: int, times: int) -> float:
        raw = np.resize(records[:batch], (batch, *records.shape[1:]))
        spent = []
        for _ in range(times):
            started = time.perf_counter()
            session.run(ANSWER, {"input": raw})
            spent.append(time.perf_counter() - started)
        return statistics.median(spent)

    return seconds


def measure() -> list[Ratio]:
    """What is asked of INT8 and of the student, on the study's networks; the whole table is printed."""
    if not (STUDY / "artifacts/compress").is_dir():
        print("nothing to measure yet, run `make study-compression` first")
        return []
    found: list[Ratio] = []
    for variant in ("vanilla", "conv"):
        speeds = Speeds(STUDY, variant)
        print("\n".join(speeds.lines(variant)), flush=True)
        try:
            with contextlib.chdir(STUDY):
                publish(variant, speeds)
        except UserError as error:  # a study broken off before its end has figures and no runs
            print(f"{variant}: speeds are not in MLflow: {error}")
        int8, student = speeds.table["int8_static"], speeds.table["student"]
        if variant == "vanilla":
            for batch in (64, 4096):
                claim = f"{variant}: int8_static against float32, batch {batch}"
                found.append(Ratio(claim, speeds.ratios("int8_static", batch), FASTER))
        found += [
            Ratio(f"{variant}: size of int8_static", (int8["size_ratio"],), 0.3, at_least=False),
            Ratio(f"{variant}: AUROC that int8_static loses", (int8["auroc_loss"],), 0.002, at_least=False, unit=""),
            Ratio(f"{variant}: rank correlation of int8_static", (int8["rank_correlation"],), 0.999, unit=""),
            Ratio(f"{variant}: parameters of the student", (student["parameters_ratio"],), 0.1, at_least=False),
            Ratio(f"{variant}: AUROC that the student loses", (student["auroc_loss"],), 0.005, at_least=False, unit=""),
        ]
    return found


def publish(variant: str, speeds: Speeds) -> None:
    """Log what was measured as metrics of the variant's run, which belongs to the checkout that one stands in.

    Raises:
        UserError: results are missing or not published, or the store is away.
    """
    from mlflow.entities import Metric

    from components.params import load_section
    from components.publishing.results import load_results
    from components.publishing.store import KEY_TAG, open_store

    key, now = load_results().variant_key(variant), int(time.time() * 1000)
    with open_store(load_section("register").name) as store:
        runs = store.client.search_runs([store.experiment_id], f"tags.`{KEY_TAG}` = '{key}'")
        if not runs:
            raise UserError(f"MLflow, {variant}", "has no run of these results", "run `python -m components.register`")
        store.client.log_batch(runs[0].info.run_id, metrics=[Metric(*row, now, 0) for row in speeds.metrics().items()])


def main(variant: str) -> None:
    """Measure the scorers of this checkout, print and publish."""
    speeds = Speeds(Path(), variant)
    print("\n".join(speeds.lines(variant)))
    publish(variant, speeds)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--publish", variant]:
            run_main(partial(main, variant))
        case _:
            sys.exit("use `python -m tests.benchmarks compression` or `… .compression --publish VARIANT`")

"""Stages on a Ray cluster of two nodes on this machine against the same stages side by side, `--jobs 2`.

Stages sleep for 30 s, because both nodes share this machine's CPUs: what is measured is what placing, pulling, pushing
and entering a stage costs beside stages of that length. The start of the cluster and of Prefect's server are left out.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.ratios import Ratio

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import must
from prefect_api import running_server
from s3_server import Bucket, S3Server
from s3_server import running_server as running_s3
from test_cluster import TwoNodes, Watched

SECONDS = 30
SLEEP = """
import json, time
started = time.time()
time.sleep({seconds})
with open({log!r}, "a") as file:
    print(json.dumps([started, time.time()]), file=file)
"""


def measure() -> list[Ratio]:
    """--jobs 2 over Ray: from the start of the first long stage to the end of the last."""
    with tempfile.TemporaryDirectory() as scratch, running_s3(Path(scratch)) as s3:
        local, ray = (span(Path(scratch) / kind, s3, kind) for kind in ("local", "ray"))
    print(f"       8 stages of {SECONDS} s: --jobs 2 {local:.0f} s, two Ray nodes {ray:.0f} s", flush=True)
    return [Ratio("Ray on two local nodes against --jobs 2, stages of 30 s", (local / ray,), 0.7)]


def span(folder: Path, s3: S3Server, kind: str) -> float:
    """Seconds from the start of the first stage that sleeps to the end of the last."""
    folder.mkdir()
    watched = Watched(folder, Bucket(s3, f"bench-{kind}"))
    toy, log = watched.toy, folder / "times"
    toy.variants("a", "b", "c", "d")
    for name in (f"{stage}@{variant}" for stage in ("train", "judge") for variant in "abcd"):
        toy.control(name, SLEEP.format(seconds=SECONDS, log=str(log)))
    nodes: Any = TwoNodes(folder, s3.environment) if kind == "ray" else None
    where = ["--runner", "ray", "--address", nodes.cluster.address] if nodes else ["--jobs", "2"]
    with running_server(folder / "home") as url:
        must(sys.executable, "-m", "flows.training", *where, cwd=toy.path, timeout=900,
             **{**s3.environment, "PREFECT_HOME": str(folder / "home"), "PREFECT_API_URL": url})  # fmt: skip
    if nodes:
        nodes.cluster.shutdown()
    times = [json.loads(line) for line in log.read_text().splitlines()]
    return max(end for _, end in times) - min(start for start, _ in times)

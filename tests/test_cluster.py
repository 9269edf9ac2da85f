"""Stages on the nodes of a real Ray cluster: two raylets with folders of their own, and S3 between them and the flow.

References: `dvc repro` for dvc.lock, a log outside of all checkouts for what was executed, the kernel for what is left.
"""

import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from ruamel.yaml import YAML
from s3_server import Bucket
from toy_project import ToyProject, is_alive, wait_until

from components.checkout.packages import installed
from flows.cluster.handover import check_packages
from flows.cluster.node import FOLDER

CHAIN = ["ingest", "prepare", "train@a", "train@b", "judge@a", "judge@b", "compare"]
WHERE = """
import pathlib
with open({log!r}, "a") as file:
    print({name!r}, os.environ.get("HOURGLASS_NODE", "driver"), os.getpid(), file=file)
"""


@dataclass
class TwoNodes:
    """A Ray cluster on this machine: a head that runs no stages, and two nodes with a CPU each."""

    folder: Path
    environment: Mapping[str, str]
    nodes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for name in ("left", "right"):
            mine = {FOLDER: str(self.folder / name), "PATH": os.environ["PATH"], **self.environment}
            self.nodes[str(self.folder / name)] = self.cluster.add_node(num_cpus=1, env_vars=mine)
        self.cluster.wait_for_nodes()

    def kill(self, folder: str) -> None:
        """End a node as a power cut does, with all that runs on it."""
        self.cluster.remove_node(self.nodes.pop(folder), allow_graceful=False)


class Watched:
    """The toy project with a copy of the code, which Ray can carry, and S3 as DVC's remote."""

    def __init__(self, path: Path, bucket: Bucket | None) -> None:
        self.toy = ToyProject(path / "checkout")
        self.log = path / "log"
        for name in ("flows", "components/runtime", "components/__init__.py"):
            (self.toy.path / name).unlink()
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, self.toy.path / name)
        for name in CHAIN:
            self.toy.control(name, WHERE.format(log=str(self.log), name=name))
        if bucket:
            remote = f"url = s3://{bucket.name}/dvc\n    endpointurl = {bucket.server.url}"
            self.toy.write(".dvc/config", f"[core]\n    remote = store\n['remote \"store\"']\n    {remote}\n")

    def executed(self) -> list[list[str]]:
        """Stage, node and process of each execution."""
        return [line.split() for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def lock(self) -> Any:
        """dvc.lock, parsed."""
        return YAML(typ="safe").load(self.toy.path / "dvc.lock")


@pytest.fixture
def home(prefect_home: Path, tmp_path: Path) -> dict[str, str]:
    shutil.copytree(prefect_home, tmp_path / "home")
    return {"PREFECT_HOME": str(tmp_path / "home")}


@pytest.fixture
def nodes(bucket: Bucket, tmp_path: Path) -> Iterator[TwoNodes]:
    made = TwoNodes(tmp_path, bucket.server.environment)
    yield made
    made.cluster.shutdown()


@pytest.mark.timeout(600)
def test_two_nodes_leave_what_one_machine_leaves_even_if_one_of_them_dies(
    nodes: TwoNodes, bucket: Bucket, home: dict[str, str], tmp_path: Path
) -> None:
    reference = Watched(tmp_path / "reference", None)
    assert reference.toy.run("dvc", "repro", "-q").returncode == 0

    watched = Watched(tmp_path / "watched", bucket)
    stays = tmp_path / "stays"
    stays.touch()
    pause = f"while pathlib.Path({str(stays)!r}).exists():\n    time.sleep(0.05)\n"
    watched.toy.control("train@a", watched.toy.read("control/train@a") + pause)
    flow = watched.toy.start("flows.training", "--runner", "ray", "--address", nodes.cluster.address, environment=home)
    assert wait_until(lambda: any(name == "train@a" for name, *_ in watched.executed()), 120), flow.communicate()
    (at,) = [(node, int(pid)) for name, node, pid in watched.executed() if name == "train@a"]
    nodes.kill(at[0])
    assert wait_until(lambda: not is_alive(at[1])), "what ran on a node that died must not go on"
    stays.unlink()
    out, err = flow.communicate(timeout=240)
    assert flow.returncode == 0, out + err

    assert watched.lock() == reference.lock()
    assert watched.toy.read("artifacts/compare/data") == reference.toy.read("artifacts/compare/data")
    ran = [name for name, *_ in watched.executed()]
    assert sorted(ran) == sorted([*CHAIN, "train@a"]), "only what died with its node runs again"
    assert {node for name, node, _ in watched.executed() if name == "ingest"} == {"driver"}
    assert {node for name, node, _ in watched.executed() if name == "compare"} == set(nodes.nodes)

    # a checkout that has lost everything, and another that never had anything: the remote remembers what has run
    for place in ("artifacts", ".dvc/cache", ".dvc/tmp", ".work", "dvc.lock"):
        target = watched.toy.path / place
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    again = watched.toy.run("flows.training", "--runner", "ray", "--address", nodes.cluster.address, environment=home)
    assert again.returncode == 0, again.stdout + again.stderr
    assert [name for name, *_ in watched.executed()][len(ran) :] == ["ingest"]
    assert watched.lock() == reference.lock()


def test_what_runs_on_a_node_ends_with_its_flow(
    nodes: TwoNodes, bucket: Bucket, home: dict[str, str], tmp_path: Path
) -> None:
    watched = Watched(tmp_path / "watched", bucket)
    watched.toy.control("prepare", watched.toy.read("control/prepare") + "time.sleep(600)\n")
    flow = watched.toy.start("flows.training", "--runner", "ray", "--address", nodes.cluster.address, environment=home)
    assert wait_until(lambda: any(name == "prepare" for name, *_ in watched.executed()), 120), flow.communicate()
    flow.send_signal(signal.SIGKILL)
    flow.communicate()
    ((_, _, pid),) = [line for line in watched.executed() if line[0] == "prepare"]
    assert wait_until(lambda: not is_alive(pid))


def test_a_mistake_is_one_line(bucket: Bucket, home: dict[str, str], tmp_path: Path) -> None:
    without = Watched(tmp_path / "without", None)
    done = without.toy.run("flows.training", "--runner", "ray", environment=home)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "error: dvc remote: none is configured, and stages hand over their outputs through it; "
        "add one that all nodes reach: `dvc remote add -d NAME s3://BUCKET/PREFIX`"
    )


def test_a_node_with_other_packages_is_refused() -> None:
    from components.runtime.errors import UserError

    here = installed()
    check_packages(here, "left")
    with pytest.raises(UserError, match=r"node left: has other packages than the flow: numpy .* instead of 0.1; "):
        check_packages({**here, "numpy": "0.1"}, "left")

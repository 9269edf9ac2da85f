"""The recipes of docs/serving.md are true: every block is run as it stands, but for ports.

References: NumPy, which repeats the answers of the versions that are served.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, environment
from made_versions import draw, enter_registry, make_images, make_rows, register, row_scores, scores_of
from publications import MLFLOWS_OWN
from serving import serving_command

pytestmark = [pytest.mark.filterwarnings(warning) for warning in MLFLOWS_OWN]
PAGE = (ROOT / "docs/serving.md").read_text().partition("\n## Recipes\n")[2].partition("\n## ")[0]
JAVASCRIPT = ROOT / "docs/recipes/javascript"
PORTS = ("5001", "5002")


def blocks(heading: str, language: str) -> list[str]:
    """The code under a heading, in that language; under none before the first."""
    sections = dict(re.findall(r"^### (.+)\n((?:.|\n)*?)(?=^### |\Z)", PAGE, re.MULTILINE))
    sections[""] = PAGE.partition("\n### ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```", sections[heading], re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a reader stands: a registry with both models, and their files fetched by the first block."""
    root = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(variable, raising=False)
        patch.chdir(root)
        enter_registry(root)
        for name, make in (("hourglass", make_images), ("customers", make_rows)):
            register(make(root / "artifacts"), name)
            shutil.rmtree("artifacts")
        (fetch,) = blocks("", "bash")
        bash(fetch, root)
        yield root


def bash(script: str, folder: Path, **env: str) -> str:
    """What a block prints."""
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=folder, env=environment(**env), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


IMAGES = draw(4, 4)[:2]
"""The first two test records of the made version, which are its example."""
CUSTOMERS = pd.DataFrame(
    {"age": [41, np.nan], "since": [366, np.nan], "member": ["true", ""], "city": ["Bern", "Atlantis"]}
)


@pytest.mark.parametrize("number", [0, 1])
def test_python_with_onnxruntime_alone(folder: Path, number: int) -> None:
    asked = (
        "import sys\nassert not {'mlflow', 'torch', 'pandas', 'components'} & set(sys.modules)\nprint(score.tolist())"
    )
    # -I: no path to this project
    command = [sys.executable, "-I", "-c", f"{blocks('Python', 'python')[number]}\n{asked}"]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=True)
    expected = (scores_of(IMAGES), row_scores(CUSTOMERS))[number]
    np.testing.assert_allclose(json.loads(done.stdout), expected, rtol=1e-5)


def test_javascript(folder: Path) -> None:
    for path in JAVASCRIPT.iterdir():
        shutil.copy2(path, folder)
    (install,), (program,) = blocks("JavaScript", "bash"), blocks("JavaScript", "javascript")
    bash(install, folder)
    (folder / "score.js").write_text(program)
    rows = [json.loads(line) for line in bash("node score.js", folder).splitlines()]
    np.testing.assert_allclose([score for score, _, _ in rows], scores_of(IMAGES), rtol=1e-5)
    assert all(0 < p_value <= 1 and alarm is (p_value <= 0.05) for _, p_value, alarm in rows)


def test_javascripts_lock_names_no_server_and_pins_all_by_digest() -> None:
    lock = json.loads((JAVASCRIPT / "package-lock.json").read_text())
    wanted = json.loads((JAVASCRIPT / "package.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert lock["packages"][""]["dependencies"] == wanted["dependencies"] and len(packages) > 1
    for package in packages.values():
        assert package["integrity"].startswith("sha512-") and "resolved" not in package
    settings = (JAVASCRIPT / ".npmrc").read_text().split()
    assert {"omit-lockfile-registry-resolved=true", "ignore-scripts=true"} <= set(settings)


@pytest.fixture(scope="module")
def ports(folder: Path) -> Iterator[dict[str, str]]:
    """The page's ports, and those on which the page's servers listen here."""
    store = {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    commands = [line for block in blocks("MLflow's server", "bash") for line in block.splitlines() if "mlflow" in line]
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        contexts = [
            serving_command(shlex.split(line.replace(f" --port {port}", "")), folder / f"{port}.log", folder, **store)
            for line, port in zip(commands, PORTS, strict=True)
        ]
        servers = list(pool.map(stack.enter_context, contexts))
        yield {port: re.search(r":(\d+)/", server.url)[1] for port, server in zip(PORTS, servers, strict=True)}


def test_mlflows_server(folder: Path, ports: dict[str, str]) -> None:
    (asking,) = [block for block in blocks("MLflow's server", "bash") if "curl" in block]
    for port, here in ports.items():
        asking = asking.replace(f":{port}/", f":{here}/")
    whole, records, split = map(json.loads, bash(asking.replace("\ncurl", "\necho; curl"), folder).splitlines())
    np.testing.assert_allclose(whole["predictions"]["score"], scores_of(IMAGES), rtol=1e-5)
    scores = row_scores(CUSTOMERS)
    np.testing.assert_allclose([row["score"] for row in records["predictions"]], scores, rtol=1e-5)
    assert set(records["predictions"][0]) == {"score", "is_anomaly", "contribution.age"}
    assert split["predictions"] == [{"score": pytest.approx(scores[0], rel=1e-5)}]


def test_what_the_container_is_built_from_is_there() -> None:
    (console,) = blocks("A container", "console")
    for path in re.findall(r"infra/\S+", console):
        assert (ROOT / path).is_file(), path
    assert (console.count("hourglass-serve:0.1.0"), console.count("--read-only")) == (2, 1)
    assert os.access(ROOT / "infra/docker/serve.lock", os.R_OK)

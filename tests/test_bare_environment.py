"""scorer.onnx needs nothing of ours: onnxruntime and numpy alone repeat in a bare environment what evaluate said.

Reference: artifacts/evaluate/V/scores.csv, written by the torch model.
"""

import csv
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, built_once, edit_params, make_checkout, must, run
from made_tables import draw_rows

from components.data.rows import read_rows
from components.data.splits import load_manifest

NEEDED = ("numpy", "onnxruntime")
SCORE = """
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession("scorer.onnx", providers=["CPUExecutionProvider"])
records = {of.name: np.load(f"{of.name}.npy") for of in session.get_inputs()}
names = ["score", "p_value", "is_anomaly"]
np.savez("answers.npz", **dict(zip(names, session.run(names, records))))
"""
STAGES = """
import importlib, sys
for stage in ("ingest", "prepare", "resolve", "train", "threshold", "evaluate", "export"):
    sys.argv = [stage, *(["vanilla"] if stage not in ("ingest", "prepare", "resolve") else [])]
    importlib.import_module(f"components.{stage}").main()
"""
"""The stages of one variant in one process: what `dvc repro export@vanilla` runs, in a third of its time."""


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment's python that has what requirements.lock pins of NEEDED, and not even what these need."""

    def build(target: Path) -> None:
        must("uv", "venv", "-q", "--no-project", "--python", sys.executable, str(target), cwd=ROOT)
        blocks = re.findall(
            rf"^(?:{'|'.join(NEEDED)})==(?:.*\\\n)+.*\n", (ROOT / "requirements.lock").read_text(), re.M
        )
        (target / "pinned.txt").write_text("".join(blocks))
        install = (
            "uv",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--require-hashes",
            "--python",
            str(target / "bin/python"),
        )
        # `make setup` left both in uv's cache; where it is gone they are fetched again
        if run(*install, "--offline", "-r", str(target / "pinned.txt"), cwd=ROOT).returncode:
            must(*install, "-r", str(target / "pinned.txt"), cwd=ROOT)

    return built_once(tmp_path_factory, "bare", build) / "bin/python"


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a variant of a table of numbers, dates, booleans and categories, with missing cells."""

    def build(target: Path) -> None:
        make_checkout(target)
        rows = draw_rows(400, seed=3)
        rows["since"] = (pd.Timestamp("2020-01-01") + pd.to_timedelta(rows["since"], "D")).dt.strftime("%Y-%m-%d")
        rows.to_csv(target / "rows.csv", index=False)
        edit_params(
            target,
            ingest={"source": "table", "path": "rows.csv"},
            prepare={"normal_classes": None},
            train={"epochs": 5},
            variants={"vanilla": {"model": "vanilla", "latent_dim": 3}},
        )
        must(sys.executable, "-c", STAGES, cwd=target)

    return built_once(tmp_path_factory, "table", build)


def answers(bare: Path, checkout: Path, folder: Path) -> dict[str, np.ndarray]:
    """What the bare environment makes of vanilla's scorer.onnx and the raw test records, which is all it gets."""
    prepared, manifest = checkout / "artifacts/prepare", load_manifest(checkout / "artifacts/prepare")
    shutil.copy(checkout / "artifacts/export/vanilla/scorer.onnx", folder)
    if manifest.columns:
        (raw,) = read_rows("test", manifest.columns, prepared, manifest.size("test"))
        for name, values in raw.items():
            np.save(folder / f"{name}.npy", values.astype(str) if values.dtype == object else values)
    else:
        shutil.copy(prepared / "test.npy", folder / "input.npy")
    must(str(bare), "-I", "-c", SCORE, cwd=folder)
    with np.load(folder / "answers.npz", allow_pickle=False) as found:
        return dict(found)


def test_the_environment_holds_onnxruntime_and_numpy_alone(bare: Path) -> None:
    listed = must(
        str(bare), "-I", "-c", "import importlib.metadata as m; print(*[d.name for d in m.distributions()])", cwd=ROOT
    )
    assert sorted(listed.split()) == list(NEEDED)


@pytest.mark.parametrize("data", ["finished", "table"])
def test_the_scorer_alone_says_what_evaluate_said(
    bare: Path, data: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    checkout: Path = request.getfixturevalue(data)
    found = answers(bare, checkout, tmp_path)
    with (checkout / "artifacts/evaluate/vanilla/scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    said = {name: np.array([float(row[name]) for row in rows]) for name in ("score", "p_value", "is_alarm")}
    assert len(np.unique(said["score"])) > 40 and 0 < said["is_alarm"].sum() < len(rows)
    np.testing.assert_allclose(found["score"], said["score"], rtol=1e-4)
    np.testing.assert_allclose(found["p_value"], said["p_value"], rtol=1e-4)
    np.testing.assert_array_equal(found["is_anomaly"], said["is_alarm"] == 1)

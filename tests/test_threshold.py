"""The stage `threshold`: what it writes follows from the calibration split and from nothing else.

References: the model applied record by record, order statistics by sorting, and the command as a user runs it.
"""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import edit_params, run
from dvc.repo import Repo
from fabricated import by_squared_error
from networkx import descendants

from components.data.splits import load_manifest, load_records
from components.params.threshold import Params
from components.runtime.errors import UserError
from components.scoring.conformal import Calibration
from components.threshold import calibrate
from components.threshold import fit as fit_scores
from components.training.weights import load_model


def fit(finished: Path, seed: int = 7, **params: float) -> Calibration:
    """Calibrate the finished checkout's vanilla variant anew."""
    artifacts = finished / "artifacts"
    return calibrate(
        by_squared_error(load_model(artifacts / "train" / "vanilla")), artifacts / "prepare", Params(**params), seed
    )


def errors_one_by_one(finished: Path) -> np.ndarray:
    """Mean squared error of each calibration record, without the code under test."""
    prepared = finished / "artifacts/prepare"
    scaling, network = load_manifest(prepared).scaling, load_model(finished / "artifacts/train/vanilla")
    found = []
    for record in load_records("calibration", prepared):
        x = (torch.tensor(record, dtype=torch.float32)[None] - scaling.shift[0]) / scaling.scale[0]
        with torch.no_grad():
            found.append(float((network(x)[0] - x).square().mean()))
    return np.array(found)


def test_the_stage_writes_the_order_statistics_of_calibration_errors(finished: Path) -> None:
    folder = finished / "artifacts/threshold/vanilla"
    promise, scores = json.loads((folder / "threshold.json").read_text()), np.load(folder / "calibration_scores.npy")
    expected = np.sort(errors_one_by_one(finished))
    assert scores.dtype == np.float32
    assert scores == pytest.approx(expected, rel=1e-5)
    assert promise["method"] == "split_conformal"
    assert promise["n"] == len(expected) == len(load_records("calibration", finished / "artifacts/prepare"))
    assert promise["m"] == (promise["n"] + 1) // 20  # alpha is 0.05
    assert promise["threshold"] == pytest.approx(expected[-promise["m"]], rel=1e-5)


def test_it_keeps_its_rate_on_unseen_records(finished: Path) -> None:
    for variant in ("pca", "vanilla"):
        metrics = json.loads((finished / "artifacts/evaluate" / variant / "metrics.json").read_text())
        assert metrics["normal_records"] > 200
        assert metrics["false_alarm_low"] <= metrics["upper_95"]
        assert metrics["false_alarm_excess_p"] > 0.01


def test_the_calibration_split_and_the_manifest_are_all_it_reads(finished: Path, tmp_path: Path) -> None:
    for name in ("calibration.npy", "manifest.json"):
        shutil.copy(finished / "artifacts/prepare" / name, tmp_path)
    detector = by_squared_error(load_model(finished / "artifacts/train/vanilla"))
    alone = calibrate(detector, tmp_path, Params(), 7)
    assert (alone.scores == fit(finished).scores).all()


def test_max_n_keeps_a_random_subset_and_not_the_first_ones(finished: Path) -> None:
    everything, kept = fit(finished), fit(finished, max_n=60)
    in_order = errors_one_by_one(finished)
    assert (everything.n, kept.n, kept.m) == (len(in_order), 60, 3)
    places = [int(np.abs(in_order - score).argmin()) for score in kept.scores]
    assert len(set(places)) == 60
    assert np.mean(places) == pytest.approx(len(in_order) / 2, rel=0.25)
    assert max(places) > 0.8 * len(in_order)
    assert (fit(finished, max_n=60).scores == kept.scores).all()
    assert (fit(finished, max_n=60, seed=8).scores != kept.scores).any()


def test_too_few_records_are_refused_with_the_smallest_n(finished: Path) -> None:
    with pytest.raises(UserError, match=r"^threshold.alpha: 0.01 needs at least 99 calibration records, got 60; "):
        fit(finished, alpha=0.01, max_n=60)


@pytest.mark.parametrize("change", [{"alpha": 0.1}, {"confidence": 0.5}])
def test_another_promise_trains_nothing_anew(
    checkout: Path, in_directory: Callable[[Path], None], change: dict[str, float]
) -> None:
    def stale() -> set[str]:
        repo = Repo()
        graph, changed = repo.index.graph, repo.status()  # edges lead to what a stage needs
        return {s.addressing for s in graph for need in {s, *descendants(graph, s)} if need.addressing in changed}

    in_directory(checkout)
    assert stale() == set()
    edit_params(checkout, threshold=change)
    chains = {f"{stage}@{variant}" for stage in ("threshold", "evaluate", "export") for variant in ("pca", "vanilla")}
    # a baseline is calibrated where it is fitted
    assert {name for name in stale() if not name.startswith("baseline@")} == {*chains, "compare"}


def test_a_threshold_with_confidence_says_so(finished: Path) -> None:
    sure = fit(finished, confidence=0.95)
    assert sure.m < fit(finished).m
    assert sure.upper_95 <= 0.05
    with pytest.raises(UserError, match=r"threshold.alpha: 0.05 with threshold.confidence 0.999 needs at least 135 "):
        fit(finished, confidence=0.999, max_n=130)


def test_the_command_refuses_in_one_line_and_leaves_the_old_result(checkout: Path) -> None:
    edit_params(checkout, threshold={"alpha": 0.0001})
    before = (checkout / "artifacts/threshold/vanilla/threshold.json").read_bytes()
    done = run(sys.executable, "-m", "components.threshold", "vanilla", cwd=checkout)
    assert done.returncode == 2
    assert done.stderr.startswith("error: threshold.alpha: 0.0001 needs at least 9999 calibration records, got ")
    assert done.stderr.count("\n") == 1
    assert (checkout / "artifacts/threshold/vanilla/threshold.json").read_bytes() == before
    assert not list((checkout / ".work/tmp").glob("*"))


def test_missing_weights_name_their_stage(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `dvc repro train@conv` first"):
        fit_scores(tmp_path / "conv", finished / "artifacts/prepare", Params(), 7)

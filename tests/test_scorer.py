"""The scorer decides by exact counts, in torch and in ONNX, and the proof of parity lets nothing else pass.

References: a comparison with every calibration score, one by one.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from fabricated import by_squared_error
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from components.data.item import Item
from components.data.scaling import Scale
from components.data.splits import Manifest, Scaling
from components.exporting import onnx_files, parity
from components.exporting.comparison import Comparison, Peaks, Values, rank_correlation
from components.exporting.scorer import Scorer
from components.models import Autoencoder
from components.scoring.conformal import Calibration


class Blank(Autoencoder):
    """A fake that reconstructs nothing but zeros, so that the score of the one-value record x is x² exactly."""

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return 0 * x

    def decode_logits(self, code: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(code)


def blank_scorer(calibration: np.ndarray, allowed: int) -> Scorer:
    identity = Manifest("array", [1], "float32", [], [], {}, [0, 1], Scaling([0.0], [1.0]), {}, {}, {})
    scores = torch.from_numpy(np.sort(calibration).astype(np.float32))
    return Scorer(Scale(identity), by_squared_error(Blank(Item((1,), False), "mse")), scores, allowed)


def counted(calibration: np.ndarray, allowed: int, roots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """p-values and decisions of the scores roots², by comparing each with every calibration score."""
    reaching = (calibration[None, :] >= roots[:, None] ** 2).sum(1)
    return ((1 + reaching) / (len(calibration) + 1)).astype(np.float32), reaching < allowed


@given(st.lists(st.integers(0, 12), min_size=1, max_size=70), st.data())
def test_p_values_and_decisions_are_exact_counts_for_any_n_and_any_ties(roots: list[int], data: st.DataObject) -> None:
    calibration = np.array(roots, np.float32) ** 2
    allowed = data.draw(st.integers(1, len(roots)))
    records = np.arange(15, dtype=np.float32)
    found = parity.torch_runner(blank_scorer(calibration, allowed))(records[:, None])
    p_value, alarm = counted(calibration, allowed, records)
    np.testing.assert_array_equal(found["p_value"], p_value)
    np.testing.assert_array_equal(found["is_anomaly"], alarm)


@pytest.mark.parametrize("n", [1, 2, 9, 10, 37, 1000])
def test_the_file_counts_exactly_in_two_looks_at_few_scores_and_nan_is_an_alarm(tmp_path: Path, n: int) -> None:
    calibration = np.random.default_rng(n).integers(0, 9, n).astype(np.float32) ** 2
    scorer = blank_scorer(calibration, 1)
    graph = onnx_files.export_onnx(scorer, torch.zeros(2, 1), opset=20)
    assert sum(node.op_type.startswith("Gather") for node in graph.graph.node) == 1
    held = {tensor.name: tensor.dims for tensor in graph.graph.initializer}
    assert max(*held["calibration.largest"], held["calibration.rows"][1]) <= math.ceil(math.sqrt(n))
    onnx_files.save_onnx(graph, tmp_path / "scorer.onnx")
    records = np.array([*range(10), 1e30, np.inf, np.nan], np.float32)  # the last three score inf, inf and NaN
    p_value, alarm = counted(calibration, 1, records[:10])
    assert not alarm.all()
    for run in (parity.torch_runner(scorer), parity.onnx_runner(tmp_path / "scorer.onnx", 1)):
        found = run(records[:, None])
        np.testing.assert_array_equal(found["p_value"][:10], p_value)
        np.testing.assert_array_equal(found["is_anomaly"][:10], alarm)
        assert np.isnan(found["score"][-1])
        np.testing.assert_array_equal(found["p_value"][10:], np.float32(1 / (n + 1)))
        assert found["is_anomaly"][10:].all()


def decide(scores: list[float], calibration: Calibration) -> Values:
    values = np.array(scores, np.float32)
    p_value = calibration.p_values(values).astype(np.float32)
    return {"score": values, "p_value": p_value, "is_anomaly": calibration.alarms(values)}


def test_a_decision_may_flip_within_the_tolerance_of_the_threshold_and_nowhere_else() -> None:
    calibration = Calibration.fit(np.arange(1, 41, dtype=np.float32), 0.1)
    edge = calibration.threshold
    near = Comparison(calibration, Peaks())
    near.add(decide([edge, 5.0], calibration), decide([edge * 1.00005, 5.0], calibration))
    assert (near.flips, near.flips_outside, near.faults()) == (1, 0, [])
    assert near.furthest_flip.absolute == pytest.approx(0.00005 * edge, rel=1e-2)
    assert near.furthest_flip.relative == pytest.approx(0.00005, rel=1e-2)
    far = Comparison(calibration, Peaks())
    far.add(decide([edge, 5.0], calibration), decide([edge + 1, 5.0], calibration))
    assert far.faults() == ["score differs by up to 1", "1 decisions flip away from the threshold"]
    dishonest = Comparison(calibration, Peaks())
    expected = decide([5.0, 6.0], calibration)
    dishonest.add({**expected, "p_value": expected["p_value"] + np.float32(1e-6)}, expected)
    assert dishonest.faults() == ["2 p-values or decisions do not belong to their scores"]
    broken = Comparison(calibration, Peaks())
    broken.add(decide([np.nan], calibration), decide([39.0], calibration))
    assert broken.faults()[0] == "score differs by up to nan"


def test_what_is_said_of_a_file_is_what_its_differences_come_to() -> None:
    calibration = Calibration.fit(np.arange(1, 41, dtype=np.float32), 0.1)
    comparison = Comparison(calibration, Peaks())
    for found, expected in (([1.5, 2.0], [1.0, 2.0]), ([3.0, 9.0], [4.0, 9.0])):
        comparison.add(decide(found, calibration), decide(expected, calibration))
        comparison.add_ranks(decide(found, calibration), decide(expected, calibration))
    said = comparison.to_json()
    assert said["max_abs_difference"]["score"] == 1.0
    assert said["mean_abs_difference"]["score"] == 0.375
    assert said["rank_correlation"] == 1.0 and said["flips"] == 0 and said["furthest_flip"] is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=40))
def test_ranks_correlate_as_scipy_says_ties_included(pairs: list[tuple[int, int]]) -> None:
    ours, theirs = np.array(pairs, np.float32).T
    found = rank_correlation(ours, theirs)
    if min(len(set(ours)), len(set(theirs))) == 1:
        assert found is None
    else:
        assert found == pytest.approx(float(spearmanr(ours, theirs).statistic), abs=1e-12)


def test_a_score_that_is_no_number_ranks_highest() -> None:
    assert rank_correlation(np.array([1, np.nan, 2]), np.array([1, 9, 2])) == pytest.approx(1)
    assert rank_correlation(np.array([1, np.nan, np.inf]), np.array([1, 2, 2])) == pytest.approx(1)

"""Proves what "better" means between two models: the right difference, an interval and a p-value that are what they
say, a correction for many pairs, and the same records on both sides. References: closed forms, brute force,
scikit-learn.
"""

import csv
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fabricated import fabricate, metrics, pca_metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from components.compare import compare
from components.comparing.candidates import Candidate, load_candidates
from components.comparing.pairs import area_differences, compare_pairs, holm, mean_differences
from components.comparing.pareto import frontier
from components.comparing.records import Records, load_records
from components.comparing.seeds import load_luck
from components.comparing.sensitivity import Outcome, outcomes
from components.params.compare import Params
from components.runtime.errors import UserError
from components.scoring.areas import Scored, place
from components.scoring.metrics import ranking

NONE = Scored(np.zeros(0, bool), np.zeros((0, 2)))


@pytest.fixture
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("artifacts")


# Areas


def scored(seed: int, normal: int = 90, anomalous: int = 60, models: int = 3) -> Scored:
    """Models that see one truth through noise of their own, in scores with ties."""
    generator = np.random.default_rng(seed)
    strange = np.arange(normal + anomalous) >= normal
    truth = generator.normal(strange.astype(float)[:, None], 1, (len(strange), 1))
    return Scored(strange, np.round(truth + generator.normal(0, 0.5, (len(strange), models)), 1))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(2, 9), st.data())
def test_areas_are_scikit_learns_and_their_covariance_is_that_of_all_pairs(m: int, n: int, data: st.DataObject) -> None:
    scores = data.draw(arrays(float, (m + n, 2), elements=st.integers(0, 4)))
    strange = np.arange(m + n) >= n
    found = place(Scored(strange, scores))
    for model in range(2):
        assert found.areas[model] == pytest.approx(roc_auc_score(strange, scores[:, model]))
        assert found.normal[:, model].mean() == pytest.approx(found.areas[model])
    calm, odd = scores[~strange], scores[strange]
    # DeLong et al., equations 4 to 6, from every pair of an anomalous and a normal record
    kernel = (odd[:, None] > calm) + 0.5 * (odd[:, None] == calm)
    by_odd, by_calm = (kernel.mean(axis) - kernel.mean((0, 1)) for axis in (1, 0))
    expected = by_odd.T @ by_odd / (m - 1) / m + by_calm.T @ by_calm / (n - 1) / n
    assert np.allclose(found.covariance, expected)


def test_scores_that_are_no_numbers_rank_highest() -> None:
    strange = np.array([False, False, True, True])
    scores = np.array([[0.1, 0.1], [0.2, np.nan], [np.nan, 0.3], [np.inf, 0.4]])
    assert place(Scored(strange, scores)).areas == pytest.approx([1.0, 0.5])


def test_the_closed_form_agrees_with_a_bootstrap() -> None:
    of = scored(1, normal=300, anomalous=200, models=2)
    deviations = np.sqrt(np.diag(place(of).covariance))
    for model in range(2):
        area = ranking(of.scores[:, model], of.anomalous, 1000, seed=0)["auroc"]
        assert deviations[model] == pytest.approx((area.high - area.low) / 3.92, rel=0.12)


@pytest.mark.parametrize(("second", "difference", "p"), [(1.0, 0.0, 1.0), (-1.0, 1.0, 0.0)])
def test_perfect_areas_leave_no_doubt(second: float, difference: float, p: float) -> None:
    strange = np.arange(20) >= 10
    found = area_differences(Scored(strange, np.outer(strange, [1.0, second])))
    assert (found.values[0], found.low[0], found.high[0], found.p[0]) == (difference, difference, difference, p)


# Errors


def test_the_interval_of_a_difference_is_that_of_paired_records() -> None:
    generator = np.random.default_rng(3)
    shared = generator.gamma(2, 1, (500, 1))
    errors = shared + generator.normal([0.0, 0.02], 0.1, (500, 2))
    found = mean_differences(errors, seed=0)
    difference = errors[:, 0] - errors[:, 1]
    margin = 1.96 * difference.std() / 500**0.5
    assert found.values[0] == pytest.approx(difference.mean())
    assert [found.low[0], found.high[0]] == pytest.approx(difference.mean() + np.array([-margin, margin]), rel=0.1)
    assert 0.02 < margin * 10 < 10 * errors.std() / 500**0.5, "unpaired, the interval would be far wider"


def test_models_with_equal_errors_are_not_told_apart() -> None:
    errors = np.random.default_rng(0).gamma(2, 1, 700)
    found = mean_differences(np.stack([errors] * 7, axis=1), seed=0)
    assert (set(found.values), set(found.low), set(found.high), set(found.p)) == ({0}, {0}, {0}, {1})


def test_with_many_pairs_a_clear_difference_still_counts() -> None:
    errors = np.random.default_rng(0).gamma(2, 0.1, (60, 14))
    errors[:, 0] += 1
    pairs = compare_pairs([f"v{number}" for number in range(14)], records(errors), seed=0)
    assert all(
        (pair.better == pair.second) == (pair.first == "v0") for pair in pairs if pair.better or pair.first == "v0"
    )
    assert min(pair.p_adjusted for pair in pairs) == pytest.approx(0.01, rel=0.01)


def records(errors: np.ndarray, test: Scored | None = None) -> Records:
    """Test records only; normal ones where nothing else is said."""
    test = test or Scored(np.zeros(len(errors), bool), errors)
    return Records(np.zeros((errors.shape[1], 2, 0)), NONE, test, errors)


def test_better_means_less_error_and_more_area() -> None:
    of = scored(0, normal=200, anomalous=200, models=1)
    noise = np.random.default_rng(1).normal(0, 3, (400, 1))
    test = Scored(of.anomalous, np.hstack([of.scores, of.scores + noise]))
    found = compare_pairs(["a", "b"], records(np.abs(test.scores), test), seed=0)
    by = {pair.measure: pair for pair in found}
    assert {name: (pair.better, pair.records) for name, pair in by.items()} == {"mse": ("a", 200), "auroc": ("a", 400)}
    assert by["mse"].difference < 0 < by["auroc"].difference


def test_a_record_without_a_finite_error_is_left_out_for_all() -> None:
    errors = np.random.default_rng(0).gamma(2, 1, (50, 3))
    errors[7, 1] = np.inf
    found = compare_pairs(["a", "b", "c"], records(errors), seed=0)
    assert {pair.records for pair in found} == {49}
    rest = np.delete(errors, 7, axis=0)
    assert found[1].difference == pytest.approx(rest[:, 0].mean() - rest[:, 2].mean())


def test_one_candidate_has_nobody_to_be_compared_with() -> None:
    assert compare_pairs(["a"], records(np.ones((9, 1))), seed=0) == []


# Many pairs


def test_holm_on_a_worked_example() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_the_step_down_procedure_rejects(p: list[float], level: float) -> None:
    adjusted = holm(np.array(p))
    rejected: set[int] = set()
    for step, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[index] * (len(p) - step) >= level:
            break
        rejected.add(index)
    assert {index for index, value in enumerate(adjusted) if value < level} == rejected
    assert (np.array(p) <= adjusted).all()
    assert (adjusted <= 1).all()


@pytest.mark.parametrize("measure", ["mse", "auroc"])
def test_equal_models_are_rarely_called_different(measure: str) -> None:
    """200 times four models that differ by luck only: without the correction one in five finds a "better"."""
    alarms, uncorrected = 0, 0
    for seed in range(200):
        of = scored(seed, models=4)
        errors = np.random.default_rng(seed).gamma(2, 1, (120, 4))
        found = mean_differences(errors, seed) if measure == "mse" else area_differences(of)
        alarms += holm(found.p).min() < 0.05
        uncorrected += found.p.min() < 0.05
    assert alarms / 200 <= 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5
    assert uncorrected / 200 > 0.12


# Cost


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=12))
def test_the_frontier_holds_whoever_is_beaten_by_none(at: list[tuple[int, int]]) -> None:
    best = frontier([cost for cost, _ in at], [error for _, error in at])

    def beats(one: tuple[int, int], other: tuple[int, int]) -> bool:
        return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))

    on_it = [point for point, flag in zip(at, best, strict=True) if flag]
    for point, flag in zip(at, best, strict=True):
        assert flag == (not any(beats(other, point) for other in at))
        assert flag or any(beats(other, point) for other in on_it)


# Rules and seeds


def judged(
    artifacts: Path, declared: str = "mse_ratio_to_pca", **numbers: dict[str, Any]
) -> tuple[list[Candidate], list[Outcome]]:
    fabricate(artifacts, numbers)
    candidates = load_candidates(list(numbers), artifacts)
    return candidates, outcomes(candidates, load_records(candidates, artifacts), declared, seed=0)


def test_every_rule_is_asked_and_the_declared_one_comes_first(artifacts: Path) -> None:
    _, found = judged(
        artifacts, "auroc",
        small=metrics(0.9, validation_mse=0.01, selection_auroc=0.9),
        near=metrics(0.5, validation_mse=0.02, selection_auroc=0.8),
        sharp=metrics(0.8, validation_mse=0.03, selection_auroc=0.99),
    )  # fmt: skip
    assert [(outcome.rule, outcome.winner.variant, outcome.declared) for outcome in found] == [
        ("auroc", "sharp", True), ("mse_ratio_to_pca", "near", False), ("mse", "small", False)
    ]  # fmt: skip
    for outcome in found:
        assert sum(standing.wins for standing in outcome.standings) == pytest.approx(1)
    ratio = found[1]
    assert [standing.wins for standing in ratio.standings] == [1, 0, 0]
    assert not ratio.overlap


def test_candidates_as_good_as_each_other_share_the_draws(artifacts: Path) -> None:
    _, found = judged(artifacts, a=metrics(0.8), b=metrics(0.8), pca=pca_metrics())
    wins = {standing.variant: standing.wins for standing in found[0].standings}
    assert wins["pca"] == 0
    assert min(wins["a"], wins["b"]) > 0.05
    assert found[0].overlap


def test_equal_candidates_leave_every_draw_to_the_simplest(artifacts: Path) -> None:
    fabricate(artifacts, {"large": metrics(0.8, parameters=900), "small": metrics(0.8, parameters=500)})
    candidates = load_candidates(["large", "small"], artifacts)
    of = load_records(candidates, artifacts)
    same = replace(of, validation=np.stack([of.validation[0]] * 2))
    winner = outcomes(candidates, same, "mse_ratio_to_pca", seed=0)[0].winner
    assert (winner.variant, winner.wins) == ("small", 1)


def test_redrawn_areas_spread_like_a_bootstraps(artifacts: Path) -> None:
    candidates, found = judged(artifacts, "auroc", net=metrics(0.8), pca=pca_metrics())
    of = load_records(candidates, artifacts).selection
    for index, candidate in enumerate(candidates):
        standing = next(one for one in found[0].standings if one.variant == candidate.name)
        area = ranking(of.scores[:, index], of.anomalous, 1000, seed=1)["auroc"]
        assert [standing.low, standing.high] == pytest.approx([area.low, area.high], abs=0.02)


def test_without_labels_no_rule_speaks_of_areas(artifacts: Path) -> None:
    numbers = {name: value for name, value in metrics(0.8).items() if "auroc" not in name}
    _, found = judged(artifacts, net=numbers)
    assert [outcome.rule for outcome in found] == ["mse_ratio_to_pca", "mse"]
    assert (found[0].runner_up, found[0].overlap) == (None, False)


def test_spread_of_seeds_beside_spread_of_models(artifacts: Path) -> None:
    numbers = {"a": metrics(0.8), "b": metrics(0.7), "pca": pca_metrics()}
    fabricate(artifacts, numbers)
    candidates = load_candidates(list(numbers), artifacts)
    assert load_luck(candidates, artifacts).spreads == []
    for name, ratios in {"a": (0.8, 0.6, 0.7), "b": (0.7, 0.65, 0.75), "pca": (1.0, 1.0, 1.0)}.items():
        runs = [{"seed": 7 + number, "validation_mse": 0.031 * ratio} for number, ratio in enumerate(ratios)]
        (artifacts / "seeds" / name / "seeds.json").write_text(json.dumps(runs))
    luck = load_luck(candidates, artifacts)
    assert luck.winners == {7: "b", 8: "a", 9: "a"}
    assert [spread.deviation for spread in luck.spreads] == pytest.approx([0.1, 0.05, 0])
    assert luck.between_seeds == pytest.approx(((0.1**2 + 0.05**2) / 2) ** 0.5), "PCA has no seed to be moved by"
    assert luck.between_models == pytest.approx(np.std([0.7, 0.7, 1.0], ddof=1))
    compare(list(numbers), Params(), artifacts)
    page = (artifacts / "compare" / "report.html").read_text()
    assert "b with seed 7, a with seed 8, a with seed 9" in " ".join(page.split())


# Pairing


def other_class(artifacts: Path) -> None:
    path = artifacts / "evaluate" / "net" / "scores.csv"
    path.write_text(path.read_text().replace("seven", "eight", 1))


def fewer_records(artifacts: Path) -> None:
    path = artifacts / "evaluate" / "net" / "selection.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


def other_data(artifacts: Path) -> None:
    path = artifacts / "train" / "net" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "data_digest": "0"}))


@pytest.mark.parametrize(
    ("spoil", "what"),
    [(other_class, "order of their records"), (fewer_records, "order of their records"), (other_data, "digest")],
)
def test_other_records_are_refused(artifacts: Path, spoil: Callable[[Path], None], what: str) -> None:
    fabricate(artifacts, {"pca": pca_metrics(), "net": metrics(0.8)})
    spoil(artifacts)
    with pytest.raises(UserError, match=rf"cannot be compared record by record, the {what}.* differs; run `dvc repro`"):
        compare(["net", "pca"], Params(), artifacts)
    assert not (artifacts / "compare").exists()


@pytest.mark.parametrize(
    ("path", "content", "says"),
    [
        ("evaluate/net/scores.csv", None, "is missing; run `dvc repro evaluate@net` first"),
        ("evaluate/net/scores.csv", "record,score\n0,1\n", "is not the table .* run `dvc repro -f -s evaluate@net`"),
        ("train/net/validation_errors.npy", "no array", "is no valid .npy file; run `dvc repro -f -s train@net`"),
    ],
)
def test_damaged_results_name_the_stage_that_makes_them(
    artifacts: Path, path: str, content: str | None, says: str
) -> None:
    fabricate(artifacts, {"net": metrics(0.8)})
    file = artifacts / path
    file.write_text(content) if content else file.unlink()
    with pytest.raises(UserError, match=rf"{path}: {says}"):
        compare(["net"], Params(), artifacts)


def test_tables_hold_what_the_page_says(artifacts: Path) -> None:
    numbers = {"net": metrics(0.7), "other": metrics(0.8), "pca": pca_metrics()}
    fabricate(artifacts, numbers)
    compare(list(numbers), Params(), artifacts)

    def rows(name: str) -> list[dict[str, str]]:
        with (artifacts / "compare" / name).open(newline="") as stream:
            return list(csv.DictReader(stream))

    pairs = rows("pairs.csv")
    both = itertools.product(("mse", "auroc"), itertools.combinations(numbers, 2))
    assert [(row["measure"], (row["first"], row["second"])) for row in pairs] == list(both)
    assert all(float(row["low"]) <= float(row["difference"]) <= float(row["high"]) for row in pairs)
    assert [row["best_for_parameters"] for row in rows("pareto.csv")] == ["1", "0", "1"]
    page = " ".join((artifacts / "compare" / "report.html").read_text().split())
    assert "By squared error net is better than other, pca." in page
    assert "chooses net: first in 100.0 % of 1,000 redrawn samples" in page

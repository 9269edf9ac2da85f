"""Scores: each against its formula or scikit-learn, all against what every score promises, also through their files.

Contract tests run over the registry, so a new score is tested by being there.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import edit_params, must, run
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import OneClassSVM

from components import scores
from components.data.item import Item
from components.data.scaling import Scale
from components.data.splits import Manifest, Scaling
from components.exporting import onnx_files, parity
from components.exporting.scorer import Scorer
from components.models import Autoencoder, find
from components.runtime.errors import UserError
from components.scores import Seen, spread
from components.scoring.conformal import Calibration
from components.scoring.detector import Detector, detect, fit_detector, load_detector
from components.scoring.ranks import Ranks

IMAGE = Item((1, 6, 5), unit_range=True)
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "reconstruction": [{"measure": measure} for measure in ("mse", "l1", "bce", "ssim")],
    "whitened": [{}, {"rank": 4}],
    "mahalanobis": [{}],
    "neighbours": [{"k": 2}, {"space": "record"}, {"space": "record", "pool": 4, "power": 0.5, "memory": 50}],
    "one_class_svm": [{}],
}
"""Params that each score is tested with; the defaults for a score that is not named."""
CASES = [(name, given) for name in scores.known() for given in OPTIONS.get(name, [{}])]
COMBINED = {"whitened": None, "neighbours": {"space": "record"}, "mahalanobis": None}


def images(count: int, seed: int, reach: float = 0.5, noise: float = 8.0) -> np.ndarray:
    """Grey patches that are mixtures of four, each share within `reach` of a half, with some noise."""
    generator = np.random.default_rng(seed)
    basis = np.random.default_rng(0).random((4, 30))
    values = (0.5 + reach * generator.uniform(-1, 1, (count, 4))) @ basis / 2 * 255
    values += noise * generator.normal(size=values.shape)
    return np.clip(values, 0, 255).astype(np.uint8).reshape(count, *IMAGE.shape)


def scale() -> Scale:
    return Scale(Manifest("image", [1, 6, 5], "uint8", [], [], {}, [0, 255], Scaling([0.0], [255.0]), {}, {}, {}))


@pytest.fixture(scope="module")
def model() -> Autoencoder:
    """PCA that has seen the images: exact, fast, and it has a decoder."""
    torch.set_num_threads(1)
    entry = find("pca")
    network = entry.build(IMAGE, entry.params(latent_dim=3), "mse")
    network.fit([scale()(torch.from_numpy(images(400, 1)))])
    return network.eval()


def fitted(model: Autoencoder, parts: dict[str, Any], combine: str = "log_sum") -> Detector:
    return fit_detector(model, scale(), images(400, 1), images(90, 2), parts, combine, 7, "threshold.score")


def seen(model: Autoencoder, records: np.ndarray) -> Seen:
    x = scale()(torch.from_numpy(records))
    with torch.no_grad():
        return Seen(x, *model(x))


@pytest.mark.parametrize(("name", "options"), CASES)
def test_every_score_keeps_its_promises(model: Autoencoder, tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    detector = fitted(model, {name: options})
    usual, strange = images(80, 3), images(80, 4, reach=2.0, noise=40.0)
    found, errors = detect(detector, scale(), np.concatenate([usual, strange]))
    assert found.dtype == np.float32 and (found >= 0).all() and np.isfinite(found).all()
    assert len(np.unique(found)) > 150
    assert (found[:80, None] < found[80:]).mean() > 0.9
    assert (errors[:80, None] < errors[80:]).mean() > 0.9
    some = seen(model, usual)
    with torch.no_grad():
        parts = detector.contributions(some.x, some.x_hat, some.code)
    assert parts.shape == some.x.shape and (parts >= 0).all()
    np.testing.assert_allclose(parts.flatten(1).sum(1), found[:80], rtol=1e-4)
    # the same records and seed fit the same bytes, and a file brings the same scores back
    detector.save(tmp_path)
    before = (tmp_path / "score.safetensors").read_bytes()
    fitted(model, {name: options}).save(tmp_path)
    assert (tmp_path / "score.safetensors").read_bytes() == before
    again, _ = detect(load_detector(model, tmp_path), scale(), np.concatenate([usual, strange]))
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize(
    ("parts", "combine"),
    [*(({name: given}, "log_sum") for name, given in CASES), (COMBINED, "log_sum"), (COMBINED, "p_values")],
)
def test_the_exported_file_scores_alike(
    model: Autoencoder, tmp_path: Path, parts: dict[str, Any], combine: str
) -> None:
    detector = fitted(model, parts, combine)
    calibration = Calibration.fit(detect(detector, scale(), images(60, 5))[0], 0.1)
    scorer = Scorer(scale(), detector, torch.from_numpy(calibration.scores), calibration.m)
    graph = onnx_files.export_onnx(scorer, torch.zeros((2, *IMAGE.shape), dtype=torch.uint8), 20)
    onnx_files.save_onnx(graph, tmp_path / "scorer.onnx")
    records = images(70, 6)
    found, expected = parity.onnx_runner(tmp_path / "scorer.onnx", 1)(records), parity.torch_runner(scorer)(records)
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-4)
    np.testing.assert_allclose(found["contributions"], expected["contributions"], rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(found["p_value"], calibration.p_values(found["score"]).astype(np.float32))


@pytest.mark.parametrize("combine", ["log_sum", "p_values"])
def test_a_combination_ranks_as_its_formula_says_and_adds_up(model: Autoencoder, combine: str) -> None:
    detector = fitted(model, COMBINED, combine)
    alone = [fitted(model, {name: given}) for name, given in COMBINED.items()]
    validation, records = images(90, 2), images(80, 3)
    of_validation = [detect(one, scale(), validation)[0].astype(np.float64) for one in alone]
    of_records = [detect(one, scale(), records)[0].astype(np.float64) for one in alone]
    if combine == "log_sum":
        expected = sum(
            (np.log(mine) - np.log(usual).mean()) / np.log(usual).std(ddof=1)
            for mine, usual in zip(of_records, of_validation, strict=True)
        )
    else:
        reached = [(usual >= mine[:, None]).sum(1) for mine, usual in zip(of_records, of_validation, strict=True)]
        expected = -2 * sum(np.log((1 + count) / 91) for count in reached)
    found, _ = detect(detector, scale(), records)
    np.testing.assert_array_equal(np.argsort(found, kind="stable"), np.argsort(expected.round(5), kind="stable"))
    some = seen(model, records)
    with torch.no_grad():
        parts = detector.contributions(some.x, some.x_hat, some.code)
    np.testing.assert_allclose(parts.flatten(1).sum(1), found, rtol=1e-4)


def test_neighbours_are_scikit_learns(model: Autoencoder) -> None:
    train, some = seen(model, images(400, 1)), seen(model, images(30, 3))
    root = {"space": "record", "power": 0.5}
    for options, of in (
        ({}, lambda s: s.code),
        ({"space": "record"}, lambda s: s.x.flatten(1)),
        (root, lambda s: s.x.flatten(1).sqrt()),
    ):
        reference = NearestNeighbors(n_neighbors=3).fit(of(train)).kneighbors(of(some))[0].mean(1)
        reference /= of(some).shape[1] ** 0.5
        found, _ = detect(fitted(model, {"neighbours": options}), scale(), images(30, 3))
        np.testing.assert_allclose(found, reference, rtol=1e-4)


def test_the_support_vector_machine_is_scikit_learns(model: Autoencoder) -> None:
    code, some = seen(model, images(400, 1)).code.double(), seen(model, images(30, 3)).code.double()
    mean, deviation = code.mean(0), code.std(0)
    machine = OneClassSVM(nu=0.1, gamma=1 / 3).fit(((code - mean) / deviation).numpy())
    reference = 1 - machine.score_samples(((some - mean) / deviation).numpy()) / machine.dual_coef_.sum()
    found, _ = detect(fitted(model, {"one_class_svm": {}}), scale(), images(30, 3))
    np.testing.assert_allclose(found, reference, rtol=1e-4, atol=1e-6)


def test_whitening_is_the_inverse_covariance_of_validation_residuals(model: Autoencoder) -> None:
    of_validation, some = (seen(model, images(*of)) for of in ((90, 2), (30, 3)))
    residual = (of_validation.x_hat - of_validation.x).flatten(1).double().numpy()
    mine = (some.x_hat - some.x).flatten(1).double().numpy() - residual.mean(0)
    covariance = np.cov(residual.T, bias=True)
    floor = 0.1 * np.diag(covariance).mean()
    values, vectors = np.linalg.eigh(covariance)
    kept = np.r_[np.full(26, values[:26].mean()), values[26:]]
    for rank, inverse in (
        (None, np.diag(1 / (np.diag(covariance) + floor))),
        (4, (vectors / (kept + floor)) @ vectors.T),
    ):
        found, _ = detect(fitted(model, {"whitened": {"rank": rank}}), scale(), images(30, 3))
        np.testing.assert_allclose(found, ((mine @ inverse) * mine).sum(1) / 30, rtol=1e-3)


def test_mahalanobis_is_the_quadratic_form_of_the_codes(model: Autoencoder) -> None:
    code, some = (seen(model, images(*of)).code.double().numpy() for of in ((400, 1), (30, 3)))
    covariance = np.cov(code.T, bias=True)
    covariance += 0.01 * np.diag(covariance).mean() * np.eye(3)
    mine = some - code.mean(0)
    expected = np.einsum("ri,ij,rj->r", mine, np.linalg.inv(covariance), mine) / 3
    found, _ = detect(fitted(model, {"mahalanobis": {}}), scale(), images(30, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.lists(st.integers(-1, 10), min_size=1, max_size=20))
def test_ranks_count_exactly(reference: list[int], asked: list[int]) -> None:
    ranks = Ranks(torch.tensor(sorted(reference), dtype=torch.float32))
    found = ranks.reaching(torch.tensor(asked, dtype=torch.float32))
    assert found.tolist() == [sum(one >= score for one in reference) for score in asked]


@given(st.lists(st.floats(0, 1e6, width=32), min_size=2, max_size=9), st.floats(0, 1e6, width=32))
def test_spreading_keeps_the_score(weights: list[float], score: float) -> None:
    found = spread(torch.tensor([score]), torch.tensor([weights]))
    assert float(found.double().sum()) == pytest.approx(score, rel=1e-4)
    assert (found >= 0).all()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"neighbour": None}, r"^threshold\.score: unknown score 'neighbour'; did you mean 'neighbours'\?"),
        ({"neighbours": {"kk": 3}}, r"^threshold\.score\.neighbours: unknown key 'kk'; did you mean 'k'\?"),
        (
            {"neighbours": {"pool": 2}},
            r"^threshold\.score\.neighbours: pool and power need images and space: record; change",
        ),
        ({"neighbours": {"k": 500}}, r"^threshold\.score\.neighbours: k 500 needs more than 400 training records; ch"),
        ({"whitened": {"rank": 40}}, r"^threshold\.score\.whitened: rank 40 needs more validation records and values "),
    ],
)
def test_mistakes_are_named(model: Autoencoder, parts: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fitted(model, parts)


def test_rows_have_no_structure_to_compare(model: Autoencoder) -> None:
    entry = find("pca")
    rows = entry.build(Item((4,), unit_range=False), entry.params(latent_dim=1), "mse")
    with pytest.raises(UserError, match="measure 'ssim' needs images, the records are rows; use mse or l1"):
        fit_detector(rows, scale(), np.ones((9, 4)), np.ones((9, 4)), {"reconstruction": {"measure": "ssim"}},
                     "log_sum", 7, "threshold.score")  # fmt: skip


def test_a_variant_with_a_score_of_its_own_runs_and_retrains_nothing(checkout: Path) -> None:
    trained = (checkout / "artifacts/train/vanilla/model.safetensors").stat().st_mtime_ns
    variants = {
        "pca": {"model": "pca", "latent_dim": 8},
        "vanilla": {"model": "vanilla", "latent_dim": 8, "hidden": [128], "score": {"neighbours": None}},
    }
    edit_params(checkout, variants=variants)
    must("dvc", "repro", "-q", "export@vanilla", "evaluate@pca", cwd=checkout)
    assert (checkout / "artifacts/train/vanilla/model.safetensors").stat().st_mtime_ns == trained
    config = json.loads((checkout / "artifacts/threshold/vanilla/score.json").read_text())
    assert config == {
        "combine": "log_sum",
        "parts": {"neighbours": {"space": "code", "pool": 1, "power": 1.0, "k": 3, "memory": 5000}},
    }
    assert "distance to the 3 nearest training codes" in (checkout / "artifacts/export/vanilla/card.md").read_text()
    assert json.loads((checkout / "artifacts/export/vanilla/parity.json").read_text())["passed"]
    edit_params(checkout, threshold={"score": {"mahalanobi": None}})
    done = run(sys.executable, "-m", "components.params", cwd=checkout)
    assert done.returncode == 2
    assert done.stderr.startswith("error: threshold.score: unknown score 'mahalanobi'; did you mean 'mahalanobis'?")

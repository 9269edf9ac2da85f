"""Analyses: each against a closed form or scikit-learn, all against what every analysis promises; the stage's files.

Contract tests run over the registry, so a new analysis is tested by being there.
"""

import csv
import json
import math
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import Browser
from conftest import ROOT, edit_params, must
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from components import analyses
from components.analyse import analyse, write
from components.analyses import (
    NotApplicableError,
    contraction,
    denoising,
    embedding,
    interpolation,
    label_efficiency,
    neighbourhood,
    probes,
)
from components.analysing.measures import effective_rank, sparsity, variance_shares
from components.analysing.outcome import Outcome
from components.analysing.subject import Sample, Subject
from components.data.item import Item
from components.models import Autoencoder, find
from components.params import read_params
from components.params.__main__ import check_all
from components.params.analyse import Params
from components.runtime.errors import UserError

HOSTILE = "</text></svg><script>alert(1)</script>\"'&amp; {{ 7 * 7 }}"
SMALL: dict[str, dict[str, Any]] = {
    "embedding": {"records": 60},
    "interpolation": {"pairs": 8, "steps": 5},
    "label_efficiency": {"steps": 10, "draws": 1, "shares": [0.1, 1.0]},
    "probes": {"strengths": [0.1], "neighbours": [3]},
}
"""Params that keep an analysis short in tests; the defaults for one that is not named."""
NEED_LABELS = {"interpolation", "label_efficiency", "probes"}


class Linear(Autoencoder):
    """A model whose answers are known: its code is a matrix times the record, its reconstruction undoes that."""

    def __init__(self, item: Item, matrix: Tensor) -> None:
        super().__init__(item, "mse")
        self.weight = nn.Parameter(matrix)

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T

    def decode_logits(self, code: Tensor) -> Tensor:
        return torch.unflatten(code @ torch.linalg.pinv(self.weight).T, 1, self.item.shape)


def sample(x: Tensor, labels: np.ndarray, model: Autoencoder, pca: Autoencoder, anomalous: tuple[int, ...]) -> Sample:
    with torch.no_grad():
        return Sample(x, model.encode(x), pca.encode(x), labels, np.isin(labels, anomalous))


def subject_of(
    model: Autoencoder, x: Tensor, labels: np.ndarray, fresh: Callable[[int], Autoencoder] | None = None,
    anomalous: tuple[int, ...] = (),
) -> Subject:  # fmt: skip
    """Half of the records for train, a sixth for validation, the rest for test; anomalous ones only there."""
    size, usual = len(x), ~np.isin(labels, anomalous)
    pca = find("pca").build(model.item, find("pca").params(latent_dim=model.encode(x[:1]).shape[1]))
    parts = [np.arange(size // 2), np.arange(size // 2, 2 * size // 3)]
    parts = [*(rows[usual[rows]] for rows in parts), np.arange(2 * size // 3, size)]
    pca.fit([x[parts[0]]])
    samples = [sample(x[rows], labels[rows], model, pca, anomalous) for rows in parts]
    classes = [str(label) for label in range(10)]
    return Subject("net", model.eval(), pca, fresh, classes, *samples, seed=7)


def network(seed: int, item: Item) -> Autoencoder:
    torch.manual_seed(seed)
    entry = find("vanilla")
    return entry.build(item, entry.params(latent_dim=4, hidden=[24]), "mse")


def trained(item: Item, x: Tensor) -> Autoencoder:
    """A network with a few steps behind it, so that its code tells something."""
    made = network(1, item)
    optimizer = torch.optim.Adam(made.parameters(), 0.01, fused=True)
    for _ in range(150):
        optimizer.zero_grad()
        made.objective(x)["reconstruction"].mean().backward()
        optimizer.step()
    return made


@pytest.fixture(scope="module")
def digits() -> Subject:
    """A tiny model of real digits; 8 and 9 are anomalies."""
    torch.set_num_threads(1)
    data, labels = load_digits(return_X_y=True)
    x, item = torch.from_numpy(data[:480] / 16).float().view(-1, 1, 8, 8), Item((1, 8, 8), unit_range=True)
    return subject_of(trained(item, x), x, labels[:480], lambda seed: network(seed, item), anomalous=(8, 9))


@pytest.fixture(scope="module")
def rows(digits: Subject) -> Subject:
    """Standardised rows without a shape, with labels."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 240)
    x = torch.from_numpy(generator.normal(size=(240, 6)) + 2 * np.eye(6)[labels]).float()
    item = Item((6,), unit_range=False)
    return subject_of(trained(item, x), x, labels, lambda seed: network(seed, item))


def unlabelled(subject: Subject) -> Subject:
    splits = {name: getattr(subject, name) for name in ("train", "validation", "test")}
    return replace(subject, **{k: replace(s, labels=np.full(len(s), -1)) for k, s in splits.items()})


def found(name: str, subject: Subject) -> Outcome:
    entry = analyses.find(name)
    return entry.run(entry.params(**SMALL.get(name, {})), subject)


def files(outcome: Outcome, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    outcome.write_files(folder, folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", analyses.known())
def test_every_analysis_keeps_its_promises(digits: Subject, tmp_path: Path, name: str) -> None:
    before = {key: value.clone() for key, value in digits.model.state_dict().items()}
    outcome = found(name, digits)
    assert outcome.answer.endswith(".") and outcome.numbers and outcome.tables and outcome.pictures
    assert all(math.isfinite(value) for value in outcome.numbers.values())
    assert all(file.startswith(name) for file in (*outcome.tables, *outcome.pictures))
    for table in outcome.tables.values():
        assert table.rows and {len(row) for row in table.rows} == {len(table.headings)}
    for picture in outcome.pictures.values():
        assert len(picture.alternative) > 20, "what is read aloud says what the picture shows"
    # the same seed gives the same bytes, whatever was drawn in between, and the model stays what it was
    first = files(outcome, tmp_path / "first")
    torch.manual_seed(99)
    np.random.seed(99)
    assert files(found(name, digits), tmp_path / "second") == first
    assert all(torch.equal(value, before[key]) for key, value in digits.model.state_dict().items())
    assert all(parameter.requires_grad for parameter in digits.model.parameters())


@pytest.mark.parametrize("name", analyses.known())
def test_every_analysis_copes_with_rows_and_says_where_labels_are_missing(rows: Subject, name: str) -> None:
    assert found(name, rows).numbers
    if name in NEED_LABELS:
        with pytest.raises(NotApplicableError, match="the records have no labels"):
            found(name, unlabelled(rows))
    else:
        assert found(name, unlabelled(rows)).numbers


@pytest.mark.parametrize("name", sorted(NEED_LABELS))
def test_one_class_teaches_nothing(rows: Subject, name: str) -> None:
    one_class = replace(rows, train=rows.train.take(rows.train.labels == 2))
    with pytest.raises(NotApplicableError, match="train holds one class alone, '2'"):
        found(name, one_class)


def test_a_closed_form_has_no_start_to_compare_with(digits: Subject) -> None:
    with pytest.raises(NotApplicableError, match="closed form"):
        found("label_efficiency", replace(digits, fresh=None))


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=6))
def test_effective_rank_is_that_of_a_known_spectrum(spectrum: list[float]) -> None:
    # orthonormal columns that are orthogonal to ones, so centring changes nothing
    basis = np.linalg.qr(np.column_stack([np.ones(20), np.random.default_rng(0).normal(size=(20, 6))]))[0][:, 1:]
    codes = basis[:, : len(spectrum)] * spectrum + 3
    shares = np.array(spectrum) / np.sum(spectrum)
    assert effective_rank(codes) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-6)
    squares = np.sort(np.square(spectrum))[::-1]
    np.testing.assert_allclose(variance_shares(codes), squares / squares.sum(), atol=1e-9)


def test_equal_directions_count_fully_and_equal_codes_not_at_all() -> None:
    assert effective_rank(np.concatenate([np.eye(5), -np.eye(5)])) == pytest.approx(5)
    assert effective_rank(np.full((9, 4), 0.1)) == 0


@given(st.integers(2, 9), st.data())
def test_sparsity_is_that_of_known_codes(units: int, data: st.DataObject) -> None:
    active = data.draw(st.integers(1, units))
    code = np.zeros((3, units))
    code[:, :active] = -2.5
    expected = (1 - active / units) / (1 - 1 / units)  # 1 where one speaks, 0 where all do
    np.testing.assert_allclose(sparsity(code, 1), expected, atol=1e-12)
    np.testing.assert_allclose(sparsity(code.T, 0), expected, atol=1e-12)
    assert (sparsity(np.zeros((3, units)), 1) == 0).all()


def plane(code: Tensor, x: Tensor) -> dict[str, float]:
    """The neighbourhood's numbers with 5 neighbours for records x (record, value) and any codes of them."""
    model = Linear(Item((x.shape[1],), unit_range=False), torch.eye(x.shape[1]))
    subject = subject_of(model, x.repeat(3, 1), np.zeros(3 * len(x), int))
    return dict(
        neighbourhood.run(
            neighbourhood.Params(neighbours=[5]), replace(subject, test=replace(subject.test, code=code))
        ).numbers
    )


def test_neighbourhoods_are_kept_by_identity_torn_by_a_cut_and_mixed_by_a_projection() -> None:
    angle = torch.linspace(0, 2 * math.pi, 61)[:-1]
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    kept = plane(circle, circle)
    assert kept["trustworthiness_code_at_5"] == 1 and kept["continuity_code_at_5"] == 1
    torn = plane(angle[:, None], circle)  # cut open: the two ends were neighbours
    assert torn["trustworthiness_code_at_5"] > torn["continuity_code_at_5"] + 0.01
    mixed = plane(circle[:, :1], circle)  # flattened: both halves come together
    assert mixed["trustworthiness_code_at_5"] < mixed["continuity_code_at_5"] - 0.05


def contracted(matrix: Tensor) -> dict[tuple[str, float], tuple[float, float]]:
    """(direction, size), then the mean ratio and the relative one, of a linear code."""
    x = torch.randn(300, matrix.shape[1], generator=torch.Generator().manual_seed(0))
    subject = subject_of(Linear(Item((matrix.shape[1],), unit_range=False), matrix), x, np.zeros(300, int))
    (table,) = contraction.run(contraction.Params(sizes=[0.01, 1.0]), subject).tables.values()
    return {(row[1], row[2]): (row[3], row[4]) for row in table.rows if row[0] == "code"}


def test_the_contraction_of_a_linear_code_lies_between_its_singular_values() -> None:
    matrix = torch.randn(5, 5, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(matrix)
    ratios = [ratio for ratio, _ in contracted(matrix).values()]
    assert float(values[-1]) < min(ratios) and max(ratios) < float(values[0])
    for ratio, relative in contracted(0.25 * torch.eye(5)).values():
        assert ratio == pytest.approx(0.25, rel=1e-3)
        assert relative == pytest.approx(1, rel=1e-3), "no direction is contracted more than another"


def test_contraction_tells_directions_of_records_from_noise() -> None:
    matrix = torch.eye(20)[:2]
    x = torch.randn(300, 20, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0] * 2 + [0.01] * 18)
    subject = subject_of(Linear(Item((20,), unit_range=False), matrix), x, np.zeros(300, int))
    numbers = contraction.run(contraction.Params(sizes=[0.1]), subject).numbers
    assert numbers["code_towards_records_at_0.1"] == pytest.approx(1, abs=0.01)
    assert numbers["code_noise_at_0.1"] == pytest.approx(math.sqrt(2 / 20), rel=0.15)  # |W|_F / sqrt(values)


def test_a_model_that_copies_gains_nothing_and_noise_costs_what_it_should(digits: Subject) -> None:
    item = digits.model.item
    copying = Linear(item, torch.eye(item.size))
    outcome = denoising.run(denoising.Params(), replace(digits, model=copying))
    (table,) = outcome.tables.values()
    assert table.headings[-2:] == ("ssim_in", "ssim_out")
    kinds = {row[0] for row in table.rows}
    assert kinds == {"gaussian", "masking", "dropout", "salt_pepper", "blur", "swap"} and len(table.rows) == 18
    for _, _, before, after, gain, *alike in table.rows:
        assert after == pytest.approx(before, abs=1e-3) and gain == pytest.approx(0, abs=1e-3)
        assert alike[0] == pytest.approx(alike[1], abs=1e-4)
    before = {kind: [row[2] for row in table.rows if row[0] == kind] for kind in kinds}
    assert all(values == sorted(values, reverse=True) for values in before.values()), "stronger is worse"
    # uncut noise of deviation s on rows: the mean squared error is s², the peak their range
    x = torch.randn(900, 40, generator=torch.Generator().manual_seed(0))
    of_rows = subject_of(Linear(Item((40,), unit_range=False), torch.eye(40)), x, np.zeros(900, int))
    (table,) = denoising.run(denoising.Params(), of_rows).tables.values()
    assert {row[0] for row in table.rows} == {"gaussian", "masking", "dropout", "swap"}
    peak = float(of_rows.test.x.max() - of_rows.test.x.min())
    for row in table.rows[:3]:
        assert row[2] == pytest.approx(20 * math.log10(peak / row[1]), abs=0.2)


def test_between_codes_of_a_copy_lies_the_blend(digits: Subject) -> None:
    model = Linear(digits.model.item, torch.eye(64))
    subject = subject_of(model, torch.cat([digits.train.x] * 3), np.tile(digits.train.labels, 3))
    (table,) = interpolation.run(interpolation.Params(pairs=20, steps=5), subject).tables.values()
    columns = np.array(table.rows).T
    np.testing.assert_allclose(columns[0], [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(columns[1], columns[2], atol=1e-5)
    known = digits.train.x.flatten(1).double()
    points = torch.rand(2, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = (points.flatten(2).double()[:, :, None] - known).square().mean(-1).sqrt().amin(-1)
    np.testing.assert_allclose(interpolation.nearest(points, known.float()), expected, rtol=1e-4)


def test_probes_are_scikit_learns(digits: Subject) -> None:
    train, _, test = digits.labelled()
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    numbers = probes.run(probes.Params(strengths=[0.1], neighbours=[3]), digits).numbers
    for name, values in (("record", [s.x.flatten(1).double() for s in (train, test)]),
                         ("code", [s.code.double() for s in (train, test)])):  # fmt: skip
        expected = reference.fit(values[0], train.labels).score(values[1], test.labels)
        assert numbers[f"logistic_{name}"] == pytest.approx(expected)
    assert not np.isin([8, 9], test.labels).any(), "train knows no anomalies"


def test_a_probe_is_chosen_on_validation_and_only_reported_on_test() -> None:
    class Constant:
        """Says the same of every record."""

        def __init__(self, setting: int, _: int) -> None:
            self.setting = setting

        def fit(self, *_: object) -> "Constant":
            return self

        def predict(self, values: np.ndarray) -> np.ndarray:
            return np.full(len(values), self.setting)

    labels = [np.zeros(4, int), np.array([1, 1, 1, 2]), np.array([2, 2, 2, 1])]
    assert probes.probe(Constant, [0, 2, 1], [np.zeros((4, 1))] * 3, labels, 7) == (1, 0.75, 1)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=200), st.sampled_from([0.01, 0.1, 0.5, 1.0]))
def test_few_labels_are_the_same_share_of_every_class(drawn: list[int], share: float) -> None:
    labels = np.array(drawn)
    chosen = label_efficiency.labelled_rows(labels, share, np.random.default_rng(0))
    assert len(set(chosen.tolist())) == len(chosen)
    for label in np.unique(labels):
        held = int((labels == label).sum())
        assert int((labels[chosen] == label).sum()) == max(1, round(share * held))


def test_labels_help_where_they_are_true(digits: Subject) -> None:
    params = label_efficiency.Params(steps=60, draws=1, shares=[0.001, 1.0], batch_size=32, learning_rate=0.003)
    numbers = label_efficiency.run(params, digits).numbers
    for arm in ("fine-tuned", "from_scratch"):
        assert numbers[f"{arm}_at_1"] > numbers[f"{arm}_at_0.001"] > 2 / 8
    assert numbers["frozen_at_1"] > 4 / 8
    wrong = replace(digits.train, labels=np.random.default_rng(0).permutation(digits.train.labels))
    numbers = label_efficiency.run(params, replace(digits, train=wrong)).numbers
    assert max(numbers.values()) < 3 / 8, "wrong labels teach nothing about test"


def test_views_repeat_and_bring_together_what_belongs_together() -> None:
    generator = np.random.default_rng(0)
    kind = np.repeat([0, 1], 30)
    code = (generator.normal(size=(60, 5)) + 20 * kind[:, None]).astype(np.float32)
    for method, size in ((embedding.tsne, 10.0), (embedding.umap, 10)):
        points = method(code, size, 7)
        np.testing.assert_array_equal(points, method(code, size, 7))
        distances = np.linalg.norm(points[:, None] - points, axis=-1)
        np.fill_diagonal(distances, np.inf)
        assert (kind[distances.argmin(1)] == kind).all()


def test_the_page_is_quiet_escapes_names_and_fits_a_phone(digits: Subject, tmp_path: Path) -> None:
    hostile = replace(digits, classes=[HOSTILE, "W" * 300, *digits.classes[2:]], fresh=None)
    names = ("code_usage", "contraction", "denoising", "interpolation", "label_efficiency")
    wanted = analyses.resolve(
        {name: SMALL.get(name) for name in names if name != "label_efficiency"} | {names[-1]: None}
    )
    write(hostile, analyse(hostile, wanted), "vanilla", HOSTILE, tmp_path)
    page = (tmp_path / "analysis.html").read_text()
    assert "default-src 'none'" in page and len(page) < 5 << 20
    assert not re.search(r"(?:src|href|url)\s*[=(]\s*[\"']?\s*(?:https?:)?//", page)
    with Browser() as browser:
        browser.open(tmp_path / "analysis.html", width=360)
        browser.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
        assert browser.evaluate("document.documentElement.scrollWidth") == 360
        assert browser.complaints() == [] and len(browser.requests()) == 1
        assert browser.evaluate("document.querySelectorAll('script, [onclick], [onerror]').length") == 0
        assert browser.evaluate("document.querySelector('.eyebrow').textContent") == f"Hourglass · {HOSTILE}"
        figures = browser.evaluate(
            "[...document.querySelectorAll('figure svg')].map(e => e.getAttribute('aria-label'))"
        )
        assert len(figures) == 7 and all(figures)
        ids = browser.evaluate("[...document.querySelectorAll('[id]')].map(element => element.id)")
        assert len(ids) == len(set(ids))
        assert "closed form" in browser.evaluate("document.querySelector('#skipped').textContent")


def test_by_default_nothing_is_analysed_and_nobody_waits_for_it(finished: Path) -> None:
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"].values()
    read = [dep for stage in stages for dep in stage.get("do", stage).get("deps", ())]
    assert not [dep for dep in read if dep.startswith("artifacts/analyse")]
    assert not (finished / "artifacts/analyse").exists()
    assert "analyse@" not in (finished / "dvc.lock").read_text()


def test_the_stage_leaves_its_files_and_the_same_bytes_again(checkout: Path) -> None:
    edit_params(checkout, analyse={"variants": ["vanilla"], "analyses": {"code_usage": None, "probes": None}})
    must("dvc", "repro", "-q", "-s", "analyse@vanilla", cwd=checkout)
    folder = checkout / "artifacts/analyse/vanilla"
    kept = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {"analysis.html", "analysis.json", "tables/probes.csv", "plots/probes.svg"} <= set(kept)
    report = json.loads(kept["analysis.json"])
    assert report["code_usage"]["applies"] and report["code_usage"]["units"] == 8
    with (folder / "tables/probes.csv").open() as stream:
        (first, *_) = csv.DictReader(stream)
    assert float(first["test"]) == pytest.approx(report["probes"]["logistic_code"])
    said = must(sys.executable, "-m", "components.analyse", "vanilla", cwd=checkout)
    assert "vanilla, probes: Classes read right of" in said
    assert kept == {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"analyses": {"probe": None}}, r"analyse\.analyses: unknown analysis 'probe'; did you mean 'probes'\?"),
        ({"analyses": {"probes": {"k": 3}}}, r"analyse\.analyses\.probes: unknown key 'k'"),
        ({"variants": ["a", "b", "a"]}, "must name each variant once, 'a' stands there twice"),
    ],
)
def test_mistakes_are_named(section: dict[str, Any], message: str) -> None:
    with pytest.raises((UserError, ValueError), match=message):
        Params.model_validate(section)


def test_a_variant_that_is_not_there_is_named_before_anything_runs() -> None:
    raw = read_params(ROOT / "params.yaml")
    raw["analyse"]["variants"] = ["vanila"]
    with pytest.raises(UserError, match=r"^analyse\.variants: unknown variant 'vanila'; did you mean 'vanilla'\?"):
        check_all(raw)

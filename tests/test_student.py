"""The student of distillation: as large as allowed, near its teacher from the start, and blind to what judges it.

References: parameters counted layer by layer, a teacher that is linear and so must be met exactly, a checkout without
the splits that judge.
"""

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from torch import Tensor

from components.compress import load_original
from components.compressing import find, resolve
from components.compressing.student import HIDDEN, Apprentice, Params, Student, fitting
from components.data.item import Item
from components.models import Autoencoder
from components.runtime.errors import UserError
from components.scores.reconstruction import SCORE
from components.scoring.detector import Detector
from components.training.weights import count
from tests.studies import student as study

IMAGE = Item((1, 28, 28), True)


class Linear(Autoencoder):
    """A teacher whose codes are a linear map of the record, and whose reconstructions are one of its code."""

    def __init__(self, directions: Tensor) -> None:
        super().__init__(Item((1, 4, 5), True), "mse")
        self.directions = torch.nn.Parameter(directions)

    def encode(self, x: Tensor) -> Tensor:
        """The code (batch, 3)."""
        return 5 * x.flatten(1) @ self.directions.T + 1

    def decode_logits(self, code: Tensor) -> Tensor:
        """The reconstruction (batch, 1, 4, 5)."""
        return torch.unflatten((code - 1) / 5 @ self.directions, 1, self.item.shape)


def records() -> Tensor:
    """Scaled records (record, 1, 4, 5), centred, that vary most along the first values."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 20, generator=generator) * torch.linspace(1, 0.02, 20) ** 2
    return (x - x.mean(0)).reshape(-1, 1, 4, 5)


@pytest.fixture
def apprentice() -> Apprentice:
    """Of a linear teacher that sees three directions; the student has five components."""
    model = Linear(torch.linalg.svd(records().flatten(1))[2][:3])
    teacher = Detector(model, {"reconstruction": SCORE.build(SCORE.params(), model.item, {})}, "log_sum", {})
    return Apprentice(Student(teacher.model.item, 3, 5), teacher.eval(), record=0.0)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_student_is_the_largest_that_fits(share: float) -> None:
    teacher = 400_000
    student = fitting(IMAGE, 32, share, teacher)
    components = len(student.components)
    hidden = HIDDEN * (components - 32)
    added, turns = 2 * hidden * (components + 32) + 2 * hidden + 32 + components, 2 * 32 * 32 + 32
    assert count(student) == 784 * (components + 1) + 1 + added + turns <= share * teacher
    assert count(Student(IMAGE, 32, components + 1)) > share * teacher


def test_a_teacher_may_be_too_small() -> None:
    with pytest.raises(
        UserError, match=r"student\.share: 0\.1 is at most 3,000 parameters, the smallest student has 29"
    ):
        fitting(IMAGE, 32, 0.1, 30_000)


def test_a_linear_teacher_is_met_before_the_first_step(apprentice: Apprentice) -> None:
    x = records()
    apprentice.prepare_for(lambda: iter(x.split(100)))
    with torch.no_grad():
        terms = apprentice.objective(x)
    assert float(terms["code"].mean()) < 1e-6 and float(terms["reconstruction"].mean()) < 1e-6
    apprentice.record = 1.0
    with torch.no_grad():
        assert float(apprentice.objective(x)["reconstruction"].mean()) > 0.5  # its own error is the unit


def test_the_teacher_is_not_trained(apprentice: Apprentice) -> None:
    x = records()
    apprentice.prepare_for(lambda: iter(x.split(100)))
    sum(term.mean() for term in apprentice.objective(x).values()).backward()
    assert all(parameter.grad is not None for parameter in apprentice.parameters())
    assert {name.partition(".")[0] for name in apprentice.state_dict()} == {"student", "error", "spread"}
    assert apprentice.hidden[0].model.directions.grad is None


def test_a_code_is_decoded_to_the_reconstruction_it_came_with_even_where_units_are_dead() -> None:
    x = records()
    student = Student(Item((1, 4, 5), True), 4, 6)
    weights = torch.tensor([[1.0, 0, 2, 0], [0, 0, 1, 1], [0, 0, 3, 1], [0, 0, 0, 2]])  # the second unit is dead
    student.start(lambda: iter(x.split(100)), lambda x: 1 + x.flatten(1)[:, :4] @ weights)
    with torch.no_grad():
        x_hat, code = student(x)
        torch.testing.assert_close(student.decode(code), x_hat, atol=1e-4, rtol=0)
        torch.testing.assert_close(student.encode(x), code)


def test_the_defaults_are_what_the_study_chose_on_selection() -> None:
    results = ROOT / "docs/studies/student"
    with (results / "table.csv").open() as stream:
        rows = [study.Row(*row[:2], *map(float, row[2:])) for row in list(csv.reader(stream))[1:]]
    assert {(row.setting, row.teacher) for row in rows} == set(itertools.product(study.SETTINGS, study.TEACHERS))
    chosen = study.choose(rows)
    assert json.loads((results / "choice.json").read_text()) == {"setting": chosen, **study.SETTINGS[chosen]}
    asked = {**study.COMMON, **study.SETTINGS[chosen], "epochs": None}
    assert {name: value for name, value in Params().model_dump().items() if name in asked} == asked


def test_the_choice_wants_every_error_below_pca_and_then_the_largest_area() -> None:
    def row(setting: str, teacher: str, mse: float, auroc: float) -> study.Row:
        return study.Row(setting, teacher, 0.1, mse, 0.9, 1.0, auroc, 0.0, 0.0, 0.0)

    first, second, third, *_ = study.SETTINGS
    rows = [row(first, "a", 0.9, 0.9), row(first, "b", 1.1, 0.99)]  # the best area, no better than PCA once
    rows += [row(second, "a", 0.8, 0.90), row(second, "b", 0.8, 0.80)]
    rows += [row(third, "a", 0.9, 0.84), row(third, "b", 0.9, 0.88)]
    assert study.choose(rows) == third


@pytest.mark.parametrize("method", ["int8_static", "student", "pruned"])
def test_what_judges_and_what_decides_is_not_read(checkout: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.chdir(checkout)
    torch.set_num_threads(1)
    given = {"int8_static": {"records": 32}, "student": {"share": 0.3, "epochs": 1}, "pruned": {"epochs": 1}}
    params = resolve({method: given[method]})[method]
    kept = find(method).compress(load_original("vanilla", 20, 7), params).graph
    for split in ("calibration", "selection", "test"):
        for path in Path("artifacts/prepare").glob(f"{split}*.npy"):
            path.unlink()
    again = find(method).compress(load_original("vanilla", 20, 7), params).graph
    assert kept.SerializeToString(deterministic=True) == again.SerializeToString(deterministic=True)
    train = np.load("artifacts/prepare/train.npy")
    Path("artifacts/prepare/train.npy").unlink()
    np.save("artifacts/prepare/train.npy", train[::-1] // 2)
    other = find(method).compress(load_original("vanilla", 20, 7), params).graph
    assert kept.SerializeToString(deterministic=True) != other.SerializeToString(deterministic=True)

"""The registered model of a table takes a user's DataFrame as it is, in Python and over HTTP.

Reference: onnxruntime on scorer.onnx, fed with canonical columns.
"""

import datetime
import json
import urllib.error
from decimal import Decimal
from pathlib import Path

import mlflow
import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from made_tables import COLUMNS, draw_rows, make_artifacts
from publications import MLFLOWS_OWN
from serving import ask, serving

from components.data.splits import load_manifest
from components.export import export
from components.params.export import Params
from components.preparing.cells import canonical, tidy
from components.publishing.runs import _schema
from components.publishing.version import write_model
from components.scoring.conformal import Calibration, allowed

pytestmark = [pytest.mark.filterwarnings(warning) for warning in MLFLOWS_OWN]
NAMES = [column.name for column in COLUMNS]
SCORER = Path("artifacts/export/v/scorer.onnx")
ORIGIN = pd.Timestamp("2020-01-01")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table's scorer as an MLflow model, whose threshold is promised with confidence."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        make_artifacts(Path("artifacts"))
        calibrated = Path("artifacts/threshold/v")
        Calibration.fit(Calibration.load(calibrated).scores, 0.1, confidence=0.9).save(calibrated)
        export("v", Params(), threads=1, artifacts=Path("artifacts"))
        for name in ("dvc.lock", "params.yaml", "requirements.lock"):
            Path(name).write_text("")
        write_model(root / "model", "v")
    return root / "model"


@pytest.fixture(scope="module")
def model(saved: Path) -> "mlflow.pyfunc.PyFuncModel":
    return mlflow.pyfunc.load_model(saved)


def expected(saved: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """What the graph itself says about canonical rows."""
    session = onnxruntime.InferenceSession(saved / "artifacts/scorer.onnx")
    types = {"age": np.float32, "since": np.float32, "member": object, "city": object}
    found = session.run(None, {name: rows[name].to_numpy(kind) for name, kind in types.items()})
    return pd.DataFrame(dict(zip([output.name for output in session.get_outputs()], found, strict=True)))


def as_users_have_it(rows: pd.DataFrame) -> pd.DataFrame:
    """Canonical rows with the types that pandas gives a user."""
    return pd.DataFrame(
        {
            "since": ORIGIN + pd.to_timedelta(rows["since"], unit="D"),
            "city": rows["city"].replace("", None).astype("category"),
            "member": rows["member"] == "true",
            "age": rows["age"].astype(float),
            "note": "of no interest",
        }
    )


def agree(answer: pd.DataFrame, reference: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(answer.reset_index(drop=True), reference, check_dtype=False, rtol=1e-6)


def test_a_users_frame_is_answered_like_canonical_columns(saved: Path, model: "mlflow.pyfunc.PyFuncModel") -> None:
    rows = draw_rows(90, 21)
    frame = as_users_have_it(rows).set_index(pd.Index(range(500, 590)))
    answer = model.predict(frame)
    agree(answer, expected(saved, rows))
    assert answer.index.equals(frame.index)
    assert set(answer.dtypes.astype(str)) == {"float64", "bool"}
    parts = answer[[f"contribution.{name}" for name in NAMES]].sum(axis=1)
    np.testing.assert_allclose(parts, answer["score"], rtol=1e-5)
    assert list(model.predict(frame, {"outputs": ["score"]})) == ["score"]
    empty = model.predict(frame.iloc[:0])
    assert len(empty) == 0 and list(empty) == list(answer)


def test_more_records_than_one_call_of_the_graph_takes(saved: Path, model: "mlflow.pyfunc.PyFuncModel") -> None:
    rows = draw_rows(5000, 22)
    agree(model.predict(as_users_have_it(rows)), expected(saved, rows))


def test_the_card_tells_how_a_p_value_decides_at_any_alpha(saved: Path) -> None:
    card = (saved.parent / "artifacts/export/v/card.md").read_text()
    assert "At most 0.1 of normal records raise an alarm, with 90 % confidence in this calibration set" in card
    rule = "151 `p_value` <= m, with the largest m for which the 0.9 quantile of Beta(m, 151 - m) is at most alpha"
    assert rule in card


def test_alpha_moves_the_alarms_and_confidence_stays(model: "mlflow.pyfunc.PyFuncModel", saved: Path) -> None:
    frame = as_users_have_it(draw_rows(400, 27))
    scores = np.load(saved.parent / "artifacts/threshold/v/calibration_scores.npy")
    usual = model.predict(frame)
    for alpha in (0.1, 0.02, 0.3):
        answer = model.predict(frame, {"alpha": alpha})
        anew = Calibration.fit(scores, alpha, confidence=0.9)
        assert anew.m < allowed(len(scores), alpha)
        np.testing.assert_array_equal(answer["is_anomaly"], anew.alarms(usual["score"].to_numpy(np.float32)))
    with pytest.raises(mlflow.MlflowException, match=r"at least 0\.015234, the least that 150 calibration records"):
        model.predict(frame, {"alpha": 0.01})  # 1 - 0.1 ** (1 / 150)


AGES = {
    41.0: [41, 41.0, np.int8(41), np.float32(41), "41", "41.0", " 41 ", "4.1e1", Decimal(41)],
    1.0: [True, np.True_],
    np.nan: [None, np.nan, pd.NA, pd.NaT, "", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?", "  "],
}
DATES = {
    366.0: [
        "2021-01-01", " 2021-01-01T00:00:00 ", "2021-01-01 00:00:00Z", "2021-01-01T02:00:00+02:00",
        datetime.date(2021, 1, 1), datetime.datetime(2021, 1, 1), pd.Timestamp("2021-01-01"),
        pd.Timestamp("2021-01-01 01:00", tz="Europe/Berlin"), np.datetime64("2021-01-01"),
    ],
    366.5: ["2021-01-01T12:00", pd.Timestamp("2021-01-01 12:00"), "2021-01-01 12:00:00.000000000"],
    np.nan: [None, pd.NaT, np.datetime64("NaT"), np.nan, ""],
}  # fmt: skip
MEMBERS = {
    "true": [True, np.True_, 1, 1.0, "true", "True", "YES ", "t", "y", "1"],
    "false": [False, 0, 0.0, "False", "no", "F", "N", "0"],
    "": [None, pd.NA, np.nan, "", "?"],
}
CITIES = {
    "Bern": ["Bern", np.str_("Bern"), " Bern "],
    "Atlantis": ["Atlantis"],
    "7": [7, 7.0, "7"],
    "": [None, pd.NA, "NULL"],
}


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        pytest.param(name, cells, id=f"{name}-{canonical}")
        for name, kinds in {"age": AGES, "since": DATES, "member": MEMBERS, "city": CITIES}.items()
        for canonical, cells in kinds.items()
    ],
)
def test_every_spelling_of_a_cell(
    saved: Path, model: "mlflow.pyfunc.PyFuncModel", name: str, cells: list[object]
) -> None:
    kinds = {"age": AGES, "since": DATES, "member": MEMBERS, "city": CITIES}[name]
    (canonical,) = (value for value, spellings in kinds.items() if spellings is cells)
    rows = pd.concat([draw_rows(1, 23)] * len(cells), ignore_index=True)
    frame = as_users_have_it(rows)
    frame[name] = pd.Series(cells, dtype=object)
    rows[name] = canonical
    agree(model.predict(frame), expected(saved, rows))


CELLS = {
    "numeric": ["1", "-2.5e3", " 7 ", "1_000", "ten", "1e400", "NA", "+4", "0x10", "1,5", "nan", ".5", "5."],
    "date": ["2021-03-04", "2021-03-04T05:06", "2021-03-04 05:06:07.5", "2021-03-04T05:06:07Z", "20210304", "?", "2021",
             "2021-03-04T05:06:07+02:00", "04.03.2021", "2021-13-01", "2021-03-04 05:06:07.123456789"],
    "boolean": ["TRUE", "yes", "n", "0", "1", "2", "None", " F "],
    "categorical": ["Bern", " Bern", "NULL", "8001", ""],
}  # fmt: skip


@pytest.mark.parametrize("kind", CELLS)
def test_text_is_read_as_prepare_reads_it(saved: Path, kind: str) -> None:
    script = mlflow.pyfunc.load_model(saved).unwrap_python_model()
    (converter,) = (converter for converter in script.converters if converter.kind == kind)
    for text in CELLS[kind]:
        tidied = tidy(pd.Series([text], dtype="str"))
        (value,) = canonical(tidied, kind, "2020-01-01")
        unread = (
            tidied[0] != ""
            and kind != "categorical"
            and (value == "" or (kind != "boolean" and not np.isfinite(value)))
        )
        if unread:
            with pytest.raises(mlflow.MlflowException, match="expected"):
                converter.convert(pd.Series([text], dtype=object))
        else:
            np.testing.assert_array_equal(converter.convert(pd.Series([text], dtype=object)), [value], text)


def test_levels_that_are_numbers_or_truths_are_recognised(saved: Path) -> None:
    script = mlflow.pyfunc.load_model(saved).unwrap_python_model()
    words = {"missing": frozenset([""]), "true": frozenset(), "false": frozenset()}
    converter = type(script.converters[0])(
        {"name": "zip", "kind": "categorical", "levels": ["8001", "3.0", "True", "2.5"], "origin": None}, words
    )
    cells = pd.Series([8001, 8001.0, 3.0, 3, True, 2.5, 9], dtype=object)
    assert converter.convert(cells).tolist() == ["8001", "8001", "3.0", "3.0", "True", "2.5", "9"]


WRONG = [
    ("age", "old", r"column 'age', row 2: found 'old' \(str\), expected a finite number, or nothing for a missing"),
    ("age", "1_000", "found '1_000'"),
    ("age", 1e39, "found 1e\\+39"),
    ("age", float("inf"), "found inf"),
    ("age", pd.Timestamp("2020-01-01"), r"\(Timestamp\), expected a finite number"),
    ("age", [1, 2], r"found \[1, 2\] \(list\)"),
    ("since", "last summer", r"column 'since', row 2: found 'last summer' \(str\), expected a date \(ISO 8601"),
    ("since", 20210101, r"found 20210101 \(int\)"),
    ("since", "20210101", "found '20210101'"),
    ("member", "perhaps", r"column 'member', row 2: found 'perhaps' \(str\), expected true or false"),
    ("member", 2, r"found 2 \(int\)"),
    ("city", datetime.date(2020, 1, 1), r"column 'city', row 2: found datetime\.date\(2020, 1, 1\) \(date\)"),
]


@pytest.mark.parametrize(("name", "cell", "message"), WRONG)
def test_a_cell_that_cannot_be_understood_is_named(
    model: "mlflow.pyfunc.PyFuncModel", name: str, cell: object, message: str
) -> None:
    frame = as_users_have_it(draw_rows(4, 24)).astype(object)
    frame.at[2, name] = cell
    with pytest.raises(mlflow.MlflowException, match=message) as caught:
        model.predict(frame)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


def test_a_missing_column_and_an_unknown_output_are_named(model: "mlflow.pyfunc.PyFuncModel") -> None:
    frame = as_users_have_it(draw_rows(3, 25))
    with pytest.raises(mlflow.MlflowException, match=r"Model is missing inputs \['age'\].*extra inputs: ") as caught:
        model.predict(frame.rename(columns={"age": "aeg"}))
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    with pytest.raises(mlflow.MlflowException, match="outputs: unknown scores; known: score, p_value, is_anomaly, con"):
        model.predict(frame, {"outputs": ["scores"]})


def test_signature_and_example_are_given(saved: Path) -> None:
    found = mlflow.models.Model.load(saved).signature
    assert [(column.name, str(column.type)) for column in found.inputs] == [(name, "Any") for name in NAMES]
    outputs = {column.name: column.type.name for column in found.outputs}
    assert outputs["is_anomaly"] == "boolean" and outputs["contribution.city"] == outputs["score"] == "double"
    example = json.loads((saved / "serving_input_example.json").read_text(), parse_constant=pytest.fail)
    assert example["dataframe_split"]["columns"] == NAMES and len(example["dataframe_split"]["data"]) == 2
    assert "components" not in (saved / "served_table.py").read_text()


def test_a_runs_data_set_names_the_raw_columns(saved: Path) -> None:
    schema = mlflow.types.Schema.from_json(json.dumps(_schema(load_manifest(saved / "provenance"))["mlflow_colspec"]))
    assert {column.name: column.type.name for column in schema.inputs} == {
        "age": "double", "since": "datetime", "member": "boolean", "city": "string"
    }  # fmt: skip


def test_it_is_served(saved: Path, tmp_path: Path) -> None:
    rows = draw_rows(6, 26)
    reference = expected(saved, rows)
    frame = as_users_have_it(rows)
    frame["since"] = frame["since"].dt.strftime("%Y-%m-%d")
    plain = json.loads(frame.to_json(orient="split", index=False))
    records = [dict(zip(plain["columns"], row, strict=True)) for row in plain["data"]]
    lists = {name: [record[name] for record in records] for name in plain["columns"]}
    with serving(saved, tmp_path / "server.log") as url:
        for body in (
            {"dataframe_split": plain},
            {"dataframe_records": records},
            {"inputs": lists},
            {"inputs": records},
        ):
            agree(pd.DataFrame(ask(url, body)), reference)
        words = {"inputs": {name: ["?", ""] for name in NAMES}}
        nothing = pd.DataFrame({"age": [np.nan] * 2, "since": [np.nan] * 2, "member": [""] * 2, "city": [""] * 2})
        agree(pd.DataFrame(ask(url, words)), expected(saved, nothing))
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(url, {"dataframe_records": [{**records[0], "age": "old"}]})
        assert caught.value.code == 400
        told = json.load(caught.value)
        assert "column 'age', row 0: found 'old' (str), expected a finite number" in told["message"]
        assert told["error_code"] == "INVALID_PARAMETER_VALUE"

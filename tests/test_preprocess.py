"""preprocess.onnx makes of raw columns what scikit-learn makes of them: shape and values, for every option.

Reference: the fitted ColumnTransformer itself on training rows and on rows with unseen words, gaps and far values; and
closed forms of NumPy for each kind of column, which share no code with it.
"""

from itertools import pairwise

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from onnx import ModelProto, TensorProto, compose, helper
from sklearn.preprocessing import QuantileTransformer, RobustScaler, StandardScaler

from components.preparing.cells import tidy
from components.preparing.plans import Plan, describe, plan
from components.preparing.preprocess import Rows, blocks, convert, feature_order, fit_transformer

KINDS = {
    "age, years": "numeric",  # a name that no identifier could be
    "visits": "numeric",
    "fixed": "numeric",
    "größe": "date",
    "member": "boolean",
    "city": "categorical",
    "plan": "categorical",
}
SCALERS = {
    "standard": StandardScaler(),
    "robust": RobustScaler(),
    "quantile": QuantileTransformer(n_quantiles=255, subsample=None),
}


def draw(rows: int, seed: int, odd: bool = False) -> pd.DataFrame:
    """Tidy cells; `odd` ones hold what training never saw."""
    generator = np.random.default_rng(seed)
    days = pd.Timestamp("2020-02-28") + pd.to_timedelta(generator.integers(0, 1500, rows) * 6, "h")
    cells = pd.DataFrame(
        {
            "age, years": generator.normal(40, 12, rows).round(2).astype(str),
            "visits": generator.poisson(0.7, rows).astype(str),  # many ties
            "fixed": ["7"] * rows,
            "größe": days.strftime("%Y-%m-%dT%H:%M:%S"),
            "member": generator.choice(["yes", "no"], rows),
            "city": generator.choice(["Bern", "Oslo", "Rome", "Bonn"], rows, p=[0.6, 0.3, 0.09, 0.01]),
            "plan": generator.choice(["a", "b"], rows),
        }
    ).astype("str")
    for column in ("age, years", "größe", "city"):
        cells.loc[generator.random(rows) < 0.1, column] = "NA"
    if odd:
        cells.loc[:5, "age, years"] = ["-1e6", "1e6", "0", "1e30", "NaN", "40"]
        cells.loc[:4, "fixed"] = ["6", "8", "", "7.5", "1e9"]
        cells.loc[:2, "visits"] = ["-1", "99", ""]
        cells.loc[:2, "größe"] = ["1800-01-01", "9999-12-31", "2020-02-29T12:00:00+02:00"]
        cells.loc[:3, "city"] = ["Paris", "(other)", "", "bern"]
        cells.loc[:2, "plan"] = ["c", "", "A"]
        cells.loc[:1, "member"] = ["", "TRUE"]
    return cells.apply(tidy)


def planned(cells: pd.DataFrame) -> list[Plan]:
    plans = [plan(cells[name], kind, 10) for name, kind in KINDS.items()]
    return [each for each in plans if isinstance(each, Plan)]


def as_rows(plans: list[Plan], cells: pd.DataFrame) -> Rows:
    return {each.name: each.canonical(cells[each.name]) for each in plans}


def run(model: ModelProto, rows: Rows) -> np.ndarray:
    return onnxruntime.InferenceSession(model.SerializeToString()).run(["features"], dict(rows))[0]


@pytest.mark.parametrize("scaling", list(SCALERS))
def test_the_graph_equals_scikit_learn(scaling: str) -> None:
    train = draw(600, 0)
    plans = planned(train)
    transformer = fit_transformer(plans, as_rows(plans, train), scaling)
    model = convert(plans, transformer)
    for cells in (train, draw(200, 1), draw(50, 2, odd=True), draw(1, 3)):
        rows = as_rows(plans, cells)
        expected = transformer.transform(blocks(plans, rows))[:, feature_order(plans)]
        features = run(model, rows)
        assert features.shape == expected.shape == (len(cells), describe(plans)[-1].stop)
        assert features.dtype == np.float32
        np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scaling", list(SCALERS))
def test_numbers_and_dates_are_imputed_by_the_median_then_scaled(scaling: str) -> None:
    train, new = draw(600, 0), draw(40, 2, odd=True)
    plans = planned(train)
    features = run(convert(plans, fit_transformer(plans, as_rows(plans, train), scaling)), as_rows(plans, new))
    for column in describe(plans):
        if column.is_one_hot:
            continue
        known, values = (as_rows(plans, cells)[column.name].astype(np.float64) for cells in (train, new))
        median = np.nanmedian(known)
        scaler = SCALERS[scaling].fit(np.where(np.isnan(known), median, known)[:, None])
        expected = scaler.transform(np.where(np.isnan(values), median, values)[:, None])[:, 0]
        np.testing.assert_allclose(features[:, column.start], expected, rtol=1e-4, atol=1e-4)
        assert column.stop - column.start == 1 + np.isnan(known).any()
        if column.stop - column.start == 2:
            assert np.array_equal(features[:, column.stop - 1], np.isnan(values))


def test_words_become_levels() -> None:
    train, new = draw(600, 0), draw(50, 2, odd=True)
    plans = planned(train)
    features = run(convert(plans, fit_transformer(plans, as_rows(plans, train), "standard")), as_rows(plans, new))
    columns = {column.name: column for column in describe(plans)}
    assert columns["city"].levels == ["Bern", "Oslo", "Rome", "(other)", "(missing)"]
    assert columns["plan"].levels == ["a", "b"]
    assert columns["member"].levels == ["false", "true"]
    city = {"Bern": 0, "Oslo": 1, "Rome": 2, "": 4}  # all others, rare in train or never seen there, are (other)
    expected = np.eye(5)[[city.get(word, 3) for word in new["city"]]]
    assert np.array_equal(features[:, columns["city"].start : columns["city"].stop], expected)
    # where train has no rare and no missing words, an unseen or missing one is none of the levels
    expected = np.column_stack([new["plan"] == "a", new["plan"] == "b"])
    assert np.array_equal(features[:, columns["plan"].start : columns["plan"].stop], expected)
    words = new["member"].str.lower()
    expected = np.column_stack([words == "no", words.isin(["yes", "true"])])
    assert np.array_equal(features[:, columns["member"].start : columns["member"].stop], expected)


def test_dates_are_days_since_the_day_of_the_earliest_one() -> None:
    cells = pd.Series(["2020-03-01T18:00:00", "2020-02-28 06:00", "", "2020-03-01T00:00:00.123456789Z"], name="t")
    fixed = plan(cells, "date", 1)
    assert isinstance(fixed, Plan)
    assert (fixed.origin, fixed.has_missing) == ("2020-02-28", True)
    np.testing.assert_allclose(fixed.canonical(cells), [2.75, 0.25, np.nan, 2.0], rtol=1e-5)  # 2020 has a 29th
    assert fixed.canonical(cells).dtype == np.float32


@pytest.mark.parametrize(
    "values",
    [
        [0] * 50 + list(range(50)),
        list(range(50)) + [49] * 50,
        [1, 1, 2, 2, 2, 3] * 20,
        [5] * 10,
        [0, 1e-30, 1, 1e30],
        [3, 4],
    ],
    ids=["ties below", "ties above", "only ties", "constant", "far apart", "two"],
)
def test_quantiles_equal_scikit_learn_on_ties_and_beyond_the_ends(values: list[float]) -> None:
    cells = pd.Series(map(str, values), name="x", dtype="str")
    fixed = plan(cells, "numeric", 1)
    assert isinstance(fixed, Plan)
    transformer = fit_transformer([fixed], {"x": fixed.canonical(cells)}, "quantile")
    known = np.unique(np.float32(values))
    between = [(low + high) / 2 for low, high in pairwise(known)]
    rows = {"x": np.array([*known, *between, known[0] - 1, known[-1] + 1, -1e30, 3e38, np.nan], np.float32)}
    expected = transformer.transform(blocks([fixed], rows))
    np.testing.assert_allclose(run(convert([fixed], transformer), rows), expected, atol=1e-6)


def test_equal_rows_make_equal_bytes_without_names_of_tools_or_times() -> None:
    train = draw(300, 0)
    plans = planned(train)
    first, second = (convert(plans, fit_transformer(plans, as_rows(plans, train), "quantile")) for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
    assert not first.metadata_props
    assert not first.doc_string
    assert not any(node.doc_string or node.metadata_props for node in first.graph.node)


def test_the_graph_joins_one_of_set_20() -> None:
    train = draw(300, 0)
    plans = planned(train)
    model = convert(plans, fit_transformer(plans, as_rows(plans, train), "standard"))
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == 20
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", None]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "core", value[:1], value[1:])
    core = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=model.ir_version)
    joined = compose.merge_models(model, core, [("features", "x")])
    onnx.checker.check_model(joined)
    rows = as_rows(plans, train)
    session = onnxruntime.InferenceSession(joined.SerializeToString())
    assert np.array_equal(session.run(["y"], dict(rows))[0], -run(model, rows))
    assert [value.name for value in session.get_inputs()] == list(KINDS)

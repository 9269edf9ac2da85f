"""Tables are read as written, their columns recognised, and their rows dealt so that old ones stay where they are.

Reference: pandas on the same files, set arithmetic on the rows, and hypothesis for tables that grow.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from bad_inputs.tables import good
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data.dealing import deal
from components.data.splits import SPLITS, Manifest, load_labels, load_records
from components.ingest import ingest
from components.params import validate
from components.params.ingest import Params as IngestParams
from components.params.prepare import Fractions, Params
from components.prepare import prepare
from components.preparing import tables
from components.preparing.recognition import MOST_LEVELS, ColumnProfile, recognise
from components.preparing.tables import TableContent
from components.sources import Options, RawTable, table

LABEL = {"label": "state", "normal_classes": ["ok"]}
OUT = Path("artifacts/prepare")


@pytest.fixture(autouse=True)
def _in_an_empty_checkout(tmp_path: Path, in_directory: Callable[[Path], None]) -> None:
    in_directory(tmp_path)


def run(path: str, **params: Any) -> Manifest:
    ingest(IngestParams(source="table", path=path))
    return prepare(validate(Params, params, "prepare"))


def as_raw(frame: pd.DataFrame, size: int = 1000) -> RawTable:
    def chunks() -> Iterator[pd.DataFrame]:
        for start in range(0, len(frame), size):
            yield frame.iloc[start : start + size].reset_index(drop=True).astype("str")

    return RawTable(tuple(frame.columns), chunks)


def read(folder: Path) -> pd.DataFrame:
    return pd.concat(table.read(folder, Options(), Path("scratch")).chunks(), ignore_index=True)


def recognised(declared: dict[str, str] | None = None, **columns: list[str]) -> Any:
    profiles = []
    for name, cells in columns.items():
        profile = ColumnProfile(name)
        for start in range(0, len(cells), 700):
            profile.update(pd.Series(cells[start : start + 700], name=name, dtype="str"), start)
        profiles.append(profile)
    return recognise(profiles, declared or {})


def test_csv_tsv_and_parquet_hold_the_same_cells() -> None:
    frame = good()
    frame.loc[3, "city"] = 'a "quoted", word\nof two lines'
    for name in ("csv", "tsv", "bom", "parquet"):
        Path(name).mkdir()
    frame.to_csv("csv/t.csv", index=False)
    frame.to_csv("tsv/t.tsv", index=False, sep="\t")
    frame.to_csv("bom/t.CSV", index=False, encoding="utf-8-sig", lineterminator="\r\n")
    frame.to_parquet("parquet/t.parquet")
    for name in ("csv", "tsv", "bom", "parquet"):
        pd.testing.assert_frame_equal(read(Path(name)), frame, check_dtype=False)


def test_parquet_types_become_the_strings_that_csv_would_hold() -> None:
    frame = pd.DataFrame(
        {
            "float": [0.1, np.nan, 1e22],
            "single": np.float32([0.1, 2, 3]),
            "int": pd.array([1, None, 2**60], "Int64"),
            "bool": pd.array([True, None, False], "boolean"),
            "level": pd.Categorical(["a", None, "b"]),
            "time": pd.to_datetime(["2020-01-01", None, "2020-02-03T04:05:06"], format="ISO8601"),
        }
    )
    Path("raw").mkdir()
    frame.to_parquet("raw/t.parquet")
    cells = read(Path("raw"))
    assert cells["float"].tolist() == ["0.1", "", "1e+22"]
    assert cells["single"].tolist() == ["0.1", "2", "3"]
    assert cells["int"].tolist() == ["1", "", str(2**60)]
    assert cells["bool"].tolist() == ["true", "", "false"]
    assert cells["level"].tolist() == ["a", "", "b"]
    assert [cell[:19] for cell in cells["time"]] == ["2020-01-01 00:00:00", "", "2020-02-03 04:05:06"]


def test_parts_are_read_in_the_order_of_their_names_and_columns_may_stand_in_another_order() -> None:
    frame = good()
    Path("raw/day=2").mkdir(parents=True)
    frame[:20].to_csv("raw/a.csv", index=False)
    frame[20:].iloc[:, ::-1].to_parquet("raw/day=2/b.parquet")
    Path("raw/_temporary.csv").write_text("not of the table")
    pd.testing.assert_frame_equal(read(Path("raw")), frame, check_dtype=False)


def test_a_column_without_a_name_is_called_as_pandas_calls_it() -> None:
    good().to_csv("t.csv")
    ingest(IngestParams(source="table", path="t.csv"))
    assert list(read(Path("artifacts/ingest"))) == list(pd.read_csv("t.csv"))
    assert prepare(Params()).dropped_columns["Unnamed: 0"] == "identifier-like: counts the rows"


def test_a_folder_of_tables_is_recognised() -> None:
    Path("raw").mkdir()
    assert not table.recognises(Path("raw"))
    good().to_csv("raw/t.csv", index=False)
    assert table.recognises(Path("raw"))


def test_kinds_are_recognised() -> None:
    some = ["", "1"] * 20
    found = recognised(
        number=["1", "-2.5e3", ".5", "+7"] * 10,
        flags=["1", "0"] * 20,
        words=["yes", "NO", "T", "f"] * 10,
        day=["2020-01-01", "2021-02-03T04:05", "1999-12-31 23:59:59.5", "2020-01-01T00:00:00Z"] * 10,
        city=["Bern", "Oslo", "1", "2020-01-01"] * 10,
        gaps=some,
    )
    kinds = ("numeric", "numeric", "boolean", "date", "categorical", "numeric")
    assert tuple(found.kinds.values()) == kinds
    assert found.missing == {**dict.fromkeys(found.kinds, 0.0), "gaps": 0.5}
    assert not found.dropped


def test_columns_that_tell_nothing_are_dropped_with_the_reason() -> None:
    rows = 3 * MOST_LEVELS
    found = recognised(
        kept=["1", "3"] * (rows // 2),
        one=["x"] * rows,
        none=[""] * rows,
        row=[str(row) for row in range(5, rows + 5)],
        name=[f"n{row}" for row in range(rows)],
        code=[f"c{row // 2}" for row in range(rows)],
        few=[f"f{row // 2}" if row < 20 else "" for row in range(19)] + [""] * (rows - 19),
    )
    assert found.dropped == {
        "one": "constant",
        "none": "all missing",
        "row": "identifier-like: counts the rows",
        "name": "identifier-like: more than 1,000 distinct values",
        "code": "identifier-like: more than 1,000 distinct values",
        "few": "identifier-like: 10 distinct values in 19 cells",
    }


def test_a_declared_kind_is_trusted() -> None:
    cells = {"zip": ["8001", "0150"] * 10, "code": [f"c{row}" for row in range(20)], "one": ["1"] * 20}
    wishes = {"zip": "categorical", "code": "categorical", "one": "boolean"}
    assert recognised(wishes, **cells).kinds == wishes
    assert recognised({"zip": "drop"}, zip=cells["zip"], x=["1", "3"] * 10).dropped == {"zip": "declared"}


def test_the_manifest_and_the_files_describe_one_table() -> None:
    frame = good(400)
    frame.loc[::7, "city"] = "NA"
    frame.to_csv("t.csv", index=False)
    manifest = run("t.csv", **LABEL)
    width = manifest.columns[-1].stop
    assert (manifest.kind, manifest.item_shape, manifest.dtype) == ("table", [width], "float32")
    assert [column.name for column in manifest.columns] == ["x", "y", "city", "day"]
    assert manifest.classes == ["bad", "ok"]
    assert sum(manifest.size(split) for split in SPLITS) == 400
    assert {"preprocess.onnx", "train.npy", "train.parquet"} <= set(manifest.digests)
    session = onnxruntime.InferenceSession(str(OUT / "preprocess.onnx"))
    for split in SPLITS:
        rows = pd.read_parquet(OUT / f"{split}.parquet")
        assert list(rows) == [column.name for column in manifest.columns]
        feeds = {name: rows[name].to_numpy(object if name == "city" else np.float32) for name in rows}
        assert np.array_equal(session.run(["features"], feeds)[0], load_records(split))
        assert len(load_labels(split)) == len(rows) == manifest.size(split)
    train = load_records("train")
    for column in manifest.columns:
        if column.is_one_hot:
            assert (train[:, column.start : column.stop].sum(1) == 1).all()
        else:
            assert train[:, column.start].mean() == pytest.approx(0, abs=1e-5)
            assert train[:, column.start].std() == pytest.approx(1, abs=1e-5)


def test_only_training_rows_have_a_say_in_preprocessing() -> None:
    frame = good(400)
    frame.to_csv("t.csv", index=False)
    first = run("t.csv", **LABEL).digests["preprocess.onnx"]
    frame.loc[frame["state"] == "bad", "y"] = "1000"  # anomalous rows: selection and test
    frame.to_csv("t.csv", index=False)
    assert run("t.csv", **LABEL).digests["preprocess.onnx"] == first


def test_neither_chunks_nor_runs_change_a_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    good(300).to_csv("t.csv", index=False)
    first = run("t.csv", **LABEL).digests
    assert run("t.csv", **LABEL).digests == first
    monkeypatch.setattr(table, "_BLOCK", 1000)
    monkeypatch.setattr(tables, "_BLOCK", 7)
    smaller = run("t.csv", **LABEL).digests
    # row groups of Parquet follow the chunks; what they hold does not
    assert {name for name in first if first[name] != smaller[name]} <= {f"{split}.parquet" for split in SPLITS}


def test_preprocessing_is_fitted_on_a_bounded_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    good(400).to_csv("t.csv", index=False)
    monkeypatch.setattr(tables, "FITTED_ON", 50)
    run("t.csv")
    train = load_records("train")
    assert len(train) > 100
    assert 0 < abs(train[:, 0].mean()) < 0.5  # of the sample the mean is 0


def split_of(content: TableContent, classes: tuple[str, ...] = ("ok",)) -> np.ndarray:
    anomalous = np.isin(content.labels, [i for i, name in enumerate(content.classes) if name not in classes])
    return deal(content.hashes("key"), anomalous, content.own_test, Fractions().model_dump()).split


@settings(max_examples=15, deadline=None)
@given(st.integers(20, 80), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_appended_rows_move_no_old_one_and_duplicates_stay_together(old: int, new: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "x": generator.integers(0, 4, old + new).astype(str),
            "word": generator.choice(["a", "b"], old + new),
            "late": ["7"] * old + ["8"] * new,  # constant until rows are appended: dropped, then used
            "state": ["ok"] * (old + new),
        }
    )
    before = split_of(TableContent(as_raw(frame[:old]), Params(label="state")))
    after = split_of(TableContent(as_raw(frame, 13), Params(label="state")))
    assert np.array_equal(before, after[:old])
    for _, rows in frame.groupby(["x", "word", "late"]):
        assert len(set(after[rows.index])) == 1


def test_a_group_shares_a_split_and_neither_group_nor_label_is_a_feature() -> None:
    frame = good(400).assign(patient=[f"p{row // 4}" for row in range(400)])
    frame.to_csv("t.csv", index=False)
    manifest = run("t.csv", **LABEL, group="patient")
    assert not {"patient", "state"} & {column.name for column in manifest.columns}
    split = split_of(TableContent(as_raw(frame), Params(label="state", group="patient")))
    assert all(len(set(split[start : start + 4])) == 1 for start in range(0, 400, 4))
    assert len(set(split)) == len(SPLITS)


def test_missing_cells_and_cells_outside_a_declared_range_are_counted() -> None:
    frame = good(100)
    frame.loc[:9, "y"] = ["-1", "101", "1000", "", "", "?", "0", "100", "50", "50"]
    params = validate(Params, {"ranges": {"y": [0, 100]}, "columns": {"day": "drop"}}, "prepare")
    content = TableContent(as_raw(frame), params)
    content.write(Path(), {split: np.arange(index, 100, 5) for index, split in enumerate(SPLITS)})
    observed = content.observed()
    assert observed.outside == {"y": 3}
    assert observed.missing == {"x": 0.0, "y": pytest.approx(0.03), "city": 0.0, "state": 0.0}

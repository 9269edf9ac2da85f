"""What is wrong with a request or an input is told with its reason, at both doors, and the server goes on.

One real `mlflow models serve` for each kind of data, from a registry; after every case it must answer a right request
as NumPy does. `python -m components.score` ends with exit code 2 and one line.
"""

import json
import shutil
import sys
import tracemalloc
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from conftest import run
from made_versions import draw, enter_registry, make_images, make_numbers, make_rows, register, row_scores, scores_of
from publications import MLFLOWS_OWN, client
from serving import ask, running

from components.publishing.served_graph import SERVED
from components.runtime.errors import run_main
from components.score import main

pytestmark = [pytest.mark.filterwarnings(warning) for warning in MLFLOWS_OWN]
MAKERS = {"pictures": make_images, "numbers": make_numbers, "rows": make_rows}
MOST = 50
"""Records of a request that the servers here take."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model for each kind of data, named after its variant, with a champion."""
    root = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(variable, raising=False)
        patch.chdir(root)
        enter_registry(root)
        for name, make in MAKERS.items():
            register(make(root / "artifacts"), name)
            shutil.rmtree("artifacts")
        yield root


@pytest.fixture(autouse=True)
def here(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(registry)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{registry / 'mlflow.db'}")


def settings(registry: Path) -> dict[str, str]:
    """The environment of a server."""
    limit = json.dumps({"most_records": MOST})
    return {"MLFLOW_TRACKING_URI": f"sqlite:///{registry / 'mlflow.db'}", "SERVING_MODEL_CONFIG": limit}


@pytest.fixture(scope="module")
def servers(registry: Path) -> Iterator[dict[str, str]]:
    """Where each model is served; they start side by side."""
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        contexts = [
            running(f"models:/{name}@champion", registry / f"{name}.log", **settings(registry)) for name in MAKERS
        ]
        urls = [server.url for server in pool.map(stack.enter_context, contexts)]
        yield dict(zip(MAKERS, urls, strict=True))


ROW = {"age": 41, "since": "2021-01-01", "member": True, "city": "Bern"}
PICTURE = draw(1, 5)


def picture(value: Any) -> list:
    """A picture with one value of the caller's."""
    made = PICTURE.tolist()
    made[0][0][3][4] = value
    return made


def row(**cells: Any) -> dict[str, Any]:
    return {"dataframe_records": [{**ROW, **cells}]}


def without(name: str) -> dict[str, Any]:
    return {"dataframe_records": [{key: cell for key, cell in ROW.items() if key != name}]}


NO_WHOLE = "record 0: found {}, expected a whole number from 0 to 255"
SHAPE = "found a list of {}, expected a list of records of 1x8x8"
SIZE = f"the request holds {{}} records, expected 1 to {MOST}; send more in several requests, or score files in batches"
REFUSED: dict[str, tuple[str, Any, str]] = {
    "shape": ("pictures", {"inputs": PICTURE[:, :, :7].tolist()}, SHAPE.format("1x7x8")),
    "channels": ("pictures", {"inputs": np.repeat(PICTURE, 3, 1).tolist()}, SHAPE.format("3x8x8")),
    "no channel": ("pictures", {"inputs": PICTURE[0].tolist()}, SHAPE.format("8x8")),
    "flat": ("pictures", {"instances": PICTURE.ravel().tolist()}, SHAPE.format("single values")),
    "one value": ("pictures", {"inputs": 3}, SHAPE.format("single values")),
    "ragged": ("pictures", {"inputs": [*PICTURE.tolist(), [[[1]]]]}, "records differ in shape"),
    "scaled": ("pictures", {"inputs": (PICTURE / 255).tolist()}, "expected a whole number from 0 to 255"),
    "fraction": ("pictures", {"inputs": picture(1.5)}, NO_WHOLE.format("1.5")),
    "above": ("pictures", {"instances": picture(256)}, NO_WHOLE.format("256")),
    "below": ("pictures", {"inputs": picture(-1)}, NO_WHOLE.format("-1")),
    "nan": ("pictures", {"inputs": picture(np.nan)}, NO_WHOLE.format("nan")),
    "infinity": ("pictures", {"inputs": picture(-np.inf)}, NO_WHOLE.format("-inf")),
    "huge": ("pictures", {"inputs": picture(10**30)}, "found values that are no numbers"),
    "null": ("pictures", {"inputs": picture(None)}, "found values that are no numbers"),
    "text": ("pictures", {"inputs": picture("7")}, "found values that are no numbers"),
    "truth": ("pictures", {"inputs": (PICTURE > 9).tolist()}, "found values that are no numbers"),
    "no pictures": ("pictures", {"inputs": []}, SIZE.format(0)),
    "too many": ("pictures", {"inputs": np.zeros((51, 1, 8, 8), int).tolist()}, SIZE.format(51)),
    "a row for pictures": ("pictures", row(), "'dataframe_records' holds a table, and this model takes arrays"),
    "named": ("pictures", {"inputs": {"input": PICTURE.tolist()}}, SHAPE.format("single values")),
    "outputs": ("pictures", {"inputs": picture(1), "params": {"outputs": ["scores"]}}, "outputs: unknown scores;"),
    "alpha": ("pictures", {"inputs": picture(1), "params": {"alpha": 0.001}}, "alpha: must be below 1 and at least"),
    "no alpha": ("pictures", {"inputs": picture(1), "params": {"alpha": "low"}}, "Failed to validate type and shape"),
    "two inputs": ("pictures", {"inputs": picture(1), "instances": picture(1)}, "exactly one of the input fields"),
    "no input": ("pictures", {"records": picture(1)}, "exactly one of the input fields"),
    "no JSON": ("pictures", b'{"inputs": [[', "Ensure that input is a valid JSON formatted string"),
    "width": ("numbers", {"inputs": [[1, 2, 3]]}, "found a list of 3, expected a list of records of 4"),
    "nan number": ("numbers", {"inputs": [[1, 2, 3, 4], [1, np.nan, 3, 4]]}, "record 1: found nan, expected a finite"),
    "infinite number": ("numbers", {"inputs": [[1, 2, -np.inf, 4]]}, "record 0: found -inf, expected a finite number"),
    "beyond float32": ("numbers", {"inputs": [[1, 2, 1e39, 4]]}, "record 0: found 1e+39, expected a finite number"),
    "no number": ("numbers", {"inputs": [[1, 2, None, 4]]}, "found values that are no numbers"),
    "a frame": ("numbers", {"dataframe_records": [{"x": [1, 2, 3, 4]}]}, "'dataframe_records' holds a table"),
    "a picture for numbers": ("numbers", {"inputs": PICTURE.tolist()}, "found a list of 1x8x8, expected a list of"),
    "missing column": ("rows", without("age"), "Model is missing inputs ['age']"),
    "renamed column": ("rows", {"dataframe_records": [{**without("age")["dataframe_records"][0], "aeg": 1}]},
                       "Model is missing inputs ['age']. Note that there were extra inputs: ['aeg']"),
    "type": ("rows", row(age="old"), "column 'age', row 0: found 'old' (str), expected a finite number"),
    "infinite cell": ("rows", row(age=np.inf), "column 'age', row 0: found inf (float), expected a finite number"),
    "date": ("rows", row(since="soon"), "column 'since', row 0: found 'soon' (str), expected a date"),
    "nested": ("rows", row(city={"name": "Bern"}), "column 'city', row 0: found {'name': 'Bern'} (dict), expected"),
    "no rows": ("rows", {"dataframe_split": {"columns": list(ROW), "data": []}}, SIZE.format(0)),
    "no cells": ("rows", {"inputs": {name: [] for name in ROW}}, SIZE.format(0)),
    "no records": ("rows", {"dataframe_records": []}, "Model is missing inputs"),
    "too many rows": ("rows", {"dataframe_records": [ROW] * 51}, SIZE.format(51)),
    "unequal columns": ("rows", {"inputs": {**{name: ["?"] for name in ROW}, "age": ["1", "2"]}}, "columns differ in"),
    "a picture for rows": ("rows", {"inputs": PICTURE.tolist()}, "Model is missing inputs"),
}  # fmt: skip


def refusal(url: str, body: Any) -> tuple[int, str]:
    """Status and reason of a request that is refused."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, text, {"Content-Type": "application/json"})  # noqa: S310 - loopback
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60).close()  # noqa: S310 - loopback
    return caught.value.code, json.load(caught.value)["message"]


def is_well(name: str, url: str) -> bool:
    """Whether a server answers a right request rightly."""
    if name == "pictures":
        return ask(url, {"inputs": PICTURE.tolist()})["score"] == pytest.approx(scores_of(PICTURE), rel=1e-5)
    if name == "numbers":  # JSON's integers are numbers too
        return ask(url, {"inputs": [[1, 2, 3, 4], [0.5, 0, 0, 0]]})["score"] == pytest.approx([7.5, 0.0625])
    return [answer["score"] for answer in ask(url, row())] == pytest.approx(row_scores(canonical(ROW)), rel=1e-5)


def canonical(cells: dict[str, Any]) -> pd.DataFrame:
    days = (pd.Timestamp(cells["since"]) - pd.Timestamp("2020-01-01")).days
    return pd.DataFrame([{**cells, "since": days, "member": str(cells["member"]).lower()}])


@pytest.mark.parametrize("case", REFUSED)
def test_a_server_refuses_with_a_reason_and_goes_on(servers: dict[str, str], case: str) -> None:
    name, body, reason = REFUSED[case]
    status, message = refusal(servers[name], body)
    assert (status, reason in message) == (400, True), message
    assert is_well(name, servers[name])


def test_what_is_no_mistake_is_answered(servers: dict[str, str]) -> None:
    (usual,) = ask(servers["rows"], row())
    assert ask(servers["rows"], row(note="of no interest", weight=7)) == [usual], "other columns are ignored"
    (unseen,) = ask(servers["rows"], row(city="Atlantis"))
    assert unseen["score"] == pytest.approx(row_scores(canonical({**ROW, "city": "Atlantis"}))[0], rel=1e-5)
    nothing = {"age": np.nan, "since": None, "member": "", "city": "NA"}
    assert ask(servers["rows"], row(**nothing)) == ask(servers["rows"], row(**dict.fromkeys(ROW))), "missing values"
    whole = ask(servers["pictures"], {"inputs": PICTURE.astype(float).tolist()})
    assert whole == ask(servers["pictures"], {"inputs": PICTURE.tolist(), "params": {"alpha": None}})


@pytest.mark.parametrize("file", ["scorer.onnx", "alarm_levels.npy", "columns.json"])
@pytest.mark.parametrize("damage", ["truncated", "changed", "gone"])
def test_a_damaged_version_is_not_served(file: str, damage: str) -> None:
    path = folder_of("rows") / "artifacts" / file
    with (
        damaged(path, damage),
        pytest.raises(mlflow.MlflowException, match=f"{file} is damaged, it is not the file that"),
    ):
        mlflow.pyfunc.load_model(str(folder_of("rows")))


def folder_of(name: str) -> Path:
    return Path(client().get_model_version(name, "1").source.removeprefix("file://"))


@contextmanager
def damaged(path: Path, damage: str) -> Iterator[None]:
    """A file that is not what it was, until the block ends."""
    whole = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(whole[:-10] if damage == "truncated" else whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        yield
    finally:
        path.write_bytes(whole)


def test_a_server_does_not_start_without_its_version(registry: Path) -> None:
    def end(name: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{name}", "--env-manager", "local"]
        done = run(*command, "--port", "0", cwd=registry, **settings(registry))
        return done.returncode, done.stderr

    with damaged(folder_of("rows") / "artifacts/scorer.onnx", "truncated"), ThreadPoolExecutor() as pool:
        broken, nobody = pool.map(end, ["rows@champion", "pictures@champoin"])
    assert broken[0] != 0 and "scorer.onnx is damaged" in broken[1]
    assert nobody[0] != 0 and "alias champoin not found" in nobody[1]


def test_ten_million_records_are_refused_by_a_server_and_cost_a_program_no_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = mlflow.pyfunc.load_model(str(folder_of("pictures")))
    many = np.broadcast_to(PICTURE, (10_000_000, *PICTURE.shape[1:]))
    with monkeypatch.context() as served:
        served.setenv(SERVED, "true")
        with pytest.raises(mlflow.MlflowException, match="holds 10,000,000 records, expected 1 to 131,072;"):
            model.predict(many)
    some = many[:1_000_000]
    tracemalloc.start()
    answer = model.predict(some, {"outputs": ["score"]})["score"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < some.nbytes / 2, "scores and p-values take 8 bytes of each record's 64"
    np.testing.assert_allclose(answer, np.broadcast_to(scores_of(PICTURE), len(some)), rtol=1e-5)


def write(name: str, records: Any) -> str:
    """A file of the working directory."""
    if isinstance(records, pd.DataFrame):
        records.to_csv(name, index=False)
    elif isinstance(records, bytes):
        Path(name).write_bytes(records)
    else:
        np.save(name, records)
    return name


FRAME = pd.DataFrame([ROW])
NUMBERS = np.ones((3, 4), np.float32)
BATCHES: dict[str, tuple[str, str, Any, str]] = {
    "shape": ("pictures", "x.npy", PICTURE[:, :, :7], "x.npy: holds records of 1x7x8 (uint8), and pictures/1 takes"),
    "channels": ("pictures", "x.npy", np.repeat(PICTURE, 3, 1), "x.npy: holds records of 3x8x8 (uint8), and"),
    "dtype": ("pictures", "x.npy", PICTURE / 255, "x.npy: holds float64 of shape (1, 1, 8, 8), neither uint8 images"),
    "no pictures": ("pictures", "x.npy", PICTURE[:0], "x.npy: holds uint8 of shape (0, 1, 8, 8), which is nothing"),
    "truncated": ("pictures", "x.npy", b"\x93NUMPY", "x.npy: "),
    "numbers for pictures": ("pictures", "x.npy", NUMBERS, "x.npy: holds records of 4 (float32), and pictures/1 takes"),
    "rows for pictures": ("pictures", "x.csv", FRAME, "x.csv: holds x.csv, and pictures/1 takes images of 1x8x8"),
    "width": (
        "numbers",
        "x.npy",
        NUMBERS[:, :3],
        "x.npy: holds records of 3 (float32), and numbers/1 takes arrays of 4",
    ),
    "nan": ("numbers", "x.npy", NUMBERS * np.nan, "x.npy: record 0 holds NaN or infinity"),
    "infinity": ("numbers", "x.npy", NUMBERS * np.inf, "x.npy: record 0 holds NaN or infinity"),
    "beyond float32": ("numbers", "x.npy", NUMBERS * np.float64(1e300), "x.npy: record 0 leaves the range of float32"),
    "missing column": ("rows", "x.csv", FRAME.drop(columns="age"), "x.csv: has no column 'age', which rows/1 takes"),
    "type": ("rows", "x.csv", FRAME.assign(age="old"), "x.csv: row 0, column 'age': found 'old', expected a finite"),
    "infinite cell": ("rows", "x.csv", FRAME.assign(age=np.inf), "x.csv: row 0, column 'age': found 'inf', expected"),
    "no rows": ("rows", "x.csv", FRAME[:0], "x.csv: holds no record that can be scored"),
    "numbers for rows": ("rows", "x.npy", NUMBERS, "x.npy: holds x.npy, and rows/1 takes rows with age, since"),
    "no alias": ("pictures@champoin", "x.npy", PICTURE, "--model: unknown alias of pictures 'champoin'; did you mean"),
    "no model": ("picture@champion", "x.npy", PICTURE, "--model: unknown model 'picture'; did you mean 'pictures'?"),
}


def act(*arguments: str) -> int:
    """What `python -m components.score` ends with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["score", *arguments, "--jobs", "1"])
        try:
            run_main(main)
        except SystemExit as end:
            return int(end.code or 0)
    return 0


@pytest.mark.parametrize("case", BATCHES)
def test_a_batch_ends_with_one_line_and_exit_code_2(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, file, records, reason = BATCHES[case]
    model = name if "@" in name else f"{name}@champion"
    code = act(write(file, records), "--model", model, "--out", str(tmp_path / "out"))
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert code == 2 and len(told) == 1 and told[0].startswith(f"error: {reason}"), told
    assert not (tmp_path / "out").exists()


def test_a_batch_leaves_out_what_it_cannot_read_and_ignores_what_the_server_ignores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], servers: dict[str, str]
) -> None:
    (tmp_path / "in").mkdir()
    cells = {"note": "of no interest", "city": "Atlantis", "age": np.nan}
    write(str(tmp_path / "in/good.csv"), FRAME.assign(**cells))
    write(str(tmp_path / "in/torn.parquet"), b"PAR1 and no more")
    out = tmp_path / "out"
    arguments = (str(tmp_path / "in"), "--model", "rows@champion", "--out", str(out))
    assert act(*arguments) == 2 and "torn.parquet" in capsys.readouterr().err
    assert act(*arguments, "--skip-limit", "1") == 3 and "left out: torn.parquet: " in capsys.readouterr().err
    (scored,) = pd.read_parquet(out / "part-00000.parquet")["score"]
    (served,) = ask(servers["rows"], row(**cells))
    assert scored == pytest.approx(served["score"], rel=1e-6)

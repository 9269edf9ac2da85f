"""Batch scoring: every record once, piece by piece, the same bytes again, whatever breaks off; every mistake told.

References: NumPy for scores and p-values, SciPy for the false discovery rate of a batch in memory, an undisturbed run
for one that was killed, a local folder for S3, the columns of a frame for CSV and Parquet.
"""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import environment, must, run
from hypothesis import given
from hypothesis import strategies as st
from made_tables import as_users_write, draw_rows
from made_versions import (
    ALLOWED,
    MEAN,
    N,
    calibration,
    draw,
    enter_registry,
    image_manifest,
    make_images,
    make_rows,
    register,
    row_scores,
    scores_of,
)
from PIL import Image
from publications import MLFLOWS_OWN, NAME, client
from s3_server import Bucket
from scipy.stats import false_discovery_control
from toy_project import descendants_of, is_alive, wait_until

from components.bulk import arrays
from components.bulk.model import Model
from components.bulk.options import Request
from components.bulk.pieces import File
from components.bulk.tables import _csv_spans
from components.publishing.listing import digest_records
from components.runtime.errors import UserError
from components.score import Answer, score, summary
from components.scoring.conformal import p_values
from components.scoring.multiple import discoveries, fewest_discoveries, last_discovery

pytestmark = [pytest.mark.filterwarnings(warning) for warning in MLFLOWS_OWN]
CHAMPION = f"{NAME}@champion"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working directory of all tests here: the model `hourglass` takes images, `rows` takes tables."""
    root = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(variable, raising=False)
        patch.chdir(root)
        enter_registry(root)
        assert register(make_images(root / "artifacts")) == "1"
        shutil.rmtree("artifacts")
        register(make_rows(root / "artifacts"), "rows")
        yield root


@pytest.fixture(autouse=True)
def here(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(registry)


def act(source: Path | str, out: Path, **options: Any) -> Answer:
    return score(Request(str(source), out=out, **{"jobs": 1, **options}), 1, CHAMPION)


def table(out: Path) -> pd.DataFrame:
    parts = sorted(out.glob("part-*.parquet"))
    return pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True)


def contents(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*"))}


def many(folder: Path, files: int, records: int = 40, strange: int = 2) -> np.ndarray:
    """Files of a few images; returns all of them in order."""
    folder.mkdir()
    images = [draw(records, seed, strange) for seed in range(files)]
    for number, of_file in enumerate(images):
        np.save(folder / f"day-{number:03d}.npy", of_file)
    return np.concatenate(images)


def scoring_runs(name: str = NAME) -> list[Any]:
    store = client()
    found = store.search_runs([store.get_experiment_by_name(name).experiment_id])
    return [each for each in found if each.info.run_name == "scoring"]


def test_every_record_is_judged_once_by_the_champion_and_mlflow_is_told(tmp_path: Path) -> None:
    images = many(tmp_path / "days", 3)
    before = len(scoring_runs())
    answer = act(tmp_path / "days", tmp_path / "out")
    found = table(tmp_path / "out")
    assert found["id"].tolist() == [f"day-{day:03d}.npy:{row}" for day in range(3) for row in range(40)]
    np.testing.assert_allclose(found["score"], scores_of(images), rtol=1e-5)
    np.testing.assert_array_equal(found["p_value"], p_values(calibration(), found["score"].to_numpy()))
    np.testing.assert_array_equal(found["is_anomaly"], found["p_value"] <= ALLOWED / (N + 1))
    np.testing.assert_array_equal(found["digest"], digest_records(images))
    assert found["fdr_decision"].isna().all() and set(found["model_version"]) == {f"{NAME}/1"}
    squares = (np.square(images / 255 - MEAN) / 64).reshape(len(images), 64)
    for row in (0, 57, 119):
        order, top = np.argsort(-squares[row], kind="stable")[:5], found["top_contributions"][row]
        np.testing.assert_allclose([each["contribution"] for each in top], squares[row][order], rtol=1e-4)
        assert [each["name"] for each in top] == [f"{at // 8},{at % 8}" for at in order]
    assert "120 records in 3 parts" in summary(answer)

    told, *_ = scoring_runs()
    assert told.data.metrics["records"] == 120 and told.data.metrics["alarms"] == found["is_anomaly"].sum()
    assert told.data.params["model.digest"] == set(found["model_digest"]).pop()
    files = {entry.path for entry in client().list_artifacts(told.info.run_id)}
    assert files == {"manifest.json", "strangest.html"} and told.info.status == "FINISHED"

    first = contents(tmp_path / "out")
    again = act(tmp_path / "days", tmp_path / "out")
    elsewhere = act(tmp_path / "days", tmp_path / "elsewhere", jobs=2)
    assert (again.scored, elsewhere.scored) == (0, 120)
    assert contents(tmp_path / "out") == contents(tmp_path / "elsewhere") == first
    assert len(scoring_runs()) == before + 1, "the same batch was told twice"
    assert not list(tmp_path.glob(".*")), "something was left behind"


def test_only_what_is_new_is_scored_and_another_rate_scores_nothing(tmp_path: Path) -> None:
    many(tmp_path / "days", 2)
    act(tmp_path / "days", tmp_path / "out")
    np.save(tmp_path / "days/day-000b.npy", draw(7, 50))
    grown = act(tmp_path / "days", tmp_path / "out", fdr=0.2)
    assert (grown.scored, grown.manifest["records"]) == (7, 87)
    assert act(tmp_path / "days", tmp_path / "out", fdr=0.3).scored == 0
    act(tmp_path / "days", tmp_path / "fresh", fdr=0.3)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
    first = contents(tmp_path / "out")
    (tmp_path / "out/part-00001.parquet").write_bytes(first["part-00001.parquet"][:-30])
    assert act(tmp_path / "days", tmp_path / "out", fdr=0.3).scored == 7, "a damaged part is made again, and it alone"
    assert contents(tmp_path / "out") == first
    np.save(tmp_path / "days/day-000b.npy", draw(7, 51))
    assert act(tmp_path / "days", tmp_path / "out", fdr=0.3).scored == 7


def test_a_long_file_is_cut_into_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.bulk.pieces.RECORDS", 30)
    monkeypatch.setattr("components.bulk.pieces.BATCH", 7)
    images = draw(100, 3)
    np.savez_compressed(tmp_path / "packed.npz", x=images[:, 0])
    answer = act(tmp_path / "packed.npz", tmp_path / "out")
    assert [part["records"] for part in answer.manifest["parts"]] == [30, 30, 30, 10]
    np.testing.assert_allclose(table(tmp_path / "out")["score"], scores_of(images), rtol=1e-5)


@pytest.mark.parametrize("q", [0.01, 0.1, 0.3])
def test_the_rate_of_false_discoveries_is_that_of_the_whole_batch_in_memory(tmp_path: Path, q: float) -> None:
    many(tmp_path / "days", 4, 50, strange=6)
    answer = act(tmp_path / "days", tmp_path / "out", fdr=q)
    found = table(tmp_path / "out")
    expected = false_discovery_control(found["p_value"], method="bh") <= q
    np.testing.assert_array_equal(found["fdr_decision"], expected)
    told = answer.manifest["fdr"]
    assert told["reported"] == expected.sum() and told["smallest_share"] == pytest.approx(1 / (q * (N + 1)))
    assert (told["reported"] > 0) == (q > 0.01)
    assert f"{told['fewest']} of 200" in summary(answer)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.integers(1, 99))
def test_counts_decide_as_the_p_values_themselves(counts: list[int], percent: int) -> None:
    q = percent / 100 + 1e-7  # so that no comparison hangs on how a float is rounded
    levels = len(counts)
    every = np.repeat(np.arange(1, levels + 1), counts)
    last = last_discovery(np.array(counts), q)
    expected = discoveries(every / levels, q) if len(every) else np.zeros(0, bool)
    np.testing.assert_array_equal(every <= last, expected)
    alone = fewest_discoveries(100, levels - 1, q)
    if levels > 1 and 0 < alone < 100:
        few, enough = (last_discovery(np.array([k, *[0] * (levels - 2), 100 - k]), q) for k in (alone - 1, alone))
        assert few == 0 and enough >= 1


def test_equality_reports_in_exact_numbers() -> None:
    # 3 of 10 at 1/10 of the levels and q = 1/3 … exactly 1/10 * 10 = 3 * 1/3
    assert last_discovery(np.array([3, 0, 0, 0, 0, 0, 0, 0, 0, 7]), 0.3) == 0
    assert last_discovery(np.array([5, 0, 0, 0, 0, 0, 0, 0, 0, 5]), 0.2) == 1


def test_killed_it_goes_on_where_it_was(tmp_path: Path) -> None:
    many(tmp_path / "days", 60, 400)
    work = tmp_path / ".out.scoring"
    command = [sys.executable, "-m", "components.score", str(tmp_path / "days"), "--out", str(tmp_path / "out"),
               "--jobs", "2", "--fdr", "0.2"]  # fmt: skip
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert wait_until(lambda: len(list(work.glob("*.parquet"))) >= 3)
    family = descendants_of(process.pid)
    process.kill()
    process.wait()
    assert wait_until(lambda: not any(map(is_alive, family)), 15)
    assert not (tmp_path / "out").exists()
    done = {path: path.stat().st_mtime_ns for path in work.glob("*.parquet")}
    left = 60 - len(done)
    assert 0 < left < 58
    (work / ".half.parquet.tmp").write_bytes(b"PAR1")
    next(iter(done)).write_bytes(b"PAR1 and then the power went")  # no name stands for a part that is not whole

    answer = act(tmp_path / "days", tmp_path / "out", fdr=0.2)
    assert answer.scored == (left + 1) * 400 and answer.manifest["records"] == 24_000
    act(tmp_path / "days", tmp_path / "undisturbed", fdr=0.2)
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")
    assert not work.exists()


def test_pictures_are_named_by_their_files_and_shown_escaped(tmp_path: Path) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    images = draw(6, 9, strange=1)
    names = ["<b>0&.png", "deep/1.png", "deep/2.tif", "deep/3.bmp", "deep/4.png", "deep/5.png"]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image[0]).save(tmp_path / "in" / name)
    (tmp_path / "in/notes.txt").write_text("no picture")
    (tmp_path / "in/_SUCCESS").touch()
    act(tmp_path / "in", tmp_path / "out")
    found = table(tmp_path / "out")
    assert found["id"].tolist() == names
    np.testing.assert_allclose(found["score"], scores_of(images), rtol=1e-5)
    page = (tmp_path / "out/strangest.html").read_text()
    assert "&lt;b&gt;0&amp;.png" in page and "<b>" not in page
    assert page.count('src="data:image/png;base64,') == 12 and "http" not in page and "<script" not in page
    assert page.index("&lt;b&gt;0") < page.index("deep/")


WITHOUT_TORCH = """
import sys
from components.score import main
try:
    main()
finally:
    assert not {"torch", "onnx", "prefect"} & set(sys.modules)
"""


def test_unreadable_parts_are_listed_and_skipped_up_to_a_limit(tmp_path: Path) -> None:
    many(tmp_path / "in", 2)
    (tmp_path / "in/broken.npy").write_bytes((tmp_path / "in/day-000.npy").read_bytes()[:-9])
    (tmp_path / "in/torn.png").write_bytes(b"no picture")
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(tmp_path / "in/tall.png")
    names = ["broken.npy", "tall.png", "torn.png"]
    with pytest.raises(UserError) as refused:
        act(tmp_path / "in", tmp_path / "out", skip_limit=2)
    assert str(refused.value) == (
        "torn.png: no image, or damaged in its head (as 2 others before it); "
        "mend or remove it, or let --skip-limit 3 leave it out"
    )
    command = (WITHOUT_TORCH, str(tmp_path / "in"), "--skip-limit=3", "--jobs=1", f"--out={tmp_path / 'out'}")
    incomplete = run(sys.executable, "-c", *command, cwd=Path.cwd())
    assert incomplete.returncode == 3, incomplete.stderr
    assert re.findall("^left out: (.*?): ", incomplete.stderr, re.MULTILINE) == names
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert [each["name"] for each in manifest["skipped"]] == names and manifest["records"] == 80
    assert "skipped     tall.png: is 1x9x8, and hourglass/1 takes images of 1x8x8 (uint8)" in incomplete.stdout


FRAME = draw_rows(90, 31)


def as_users_have_it() -> pd.DataFrame:
    frame = as_users_write(FRAME)
    frame["note"] = [f'said "{row}",\n\nand left' for row in range(len(frame))]
    frame.insert(0, "key", [f"K{row}" for row in range(len(frame))])
    return frame[["note", "key", "city", "member", "since", "age"]]


def test_csv_and_parquet_in_any_cut_are_judged_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = as_users_have_it()
    (tmp_path / "set/month=1").mkdir(parents=True)
    frame.to_csv(tmp_path / "all.csv", index=False)
    rows = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(rows.slice(0, 60), tmp_path / "set/month=1/a.parquet", row_group_size=20)
    pq.write_table(rows.slice(60), tmp_path / "set/month=1/b.parquet")
    pq.write_table(rows.slice(0, 0), tmp_path / "set/month=1/empty.parquet")
    options = {"model": "rows@champion", "id": "key"}
    whole = act(tmp_path / "all.csv", tmp_path / "whole", **options)
    assert whole.manifest["records"] == 90 and len(whole.manifest["parts"]) == 1
    monkeypatch.setattr("components.bulk.pieces.RECORDS", 25)
    for source, records in (("all.csv", [25, 25, 25, 15]), ("set", [20, 20, 20, 30])):
        answer = act(tmp_path / source, tmp_path / f"{source}-out", **options)
        assert [part["records"] for part in answer.manifest["parts"]] == records
        pd.testing.assert_frame_equal(table(tmp_path / f"{source}-out"), table(tmp_path / "whole"))
    found = table(tmp_path / "whole")
    assert found["id"].tolist() == frame["key"].tolist()
    assert {each["name"] for each in found["top_contributions"][0]} == {"age", "since", "member", "city"}
    np.testing.assert_allclose(found["score"], row_scores(FRAME), rtol=1e-5)


@given(
    st.lists(st.text(st.sampled_from('a,"\n\r'), max_size=5), min_size=1, max_size=12), st.integers(1, 4), st.booleans()
)
def test_csv_is_cut_between_rows(cells: list[str], rows: int, windows: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.csv"
        with path.open("w", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\r\n" if windows else "\n", quoting=csv.QUOTE_ALL)
            writer.writerows([["head\n"], *[[cell] for cell in cells]])
        spans = list(_csv_spans(path, rows))
        assert [span.row for span in spans] == list(range(0, len(cells), rows))
        raw = path.read_bytes()
        pieces = [raw[span.start : span.stop].decode() for span in spans]
        assert [cell for piece in pieces for (cell,) in csv.reader(io.StringIO(piece, newline=""))] == cells


def test_a_prefix_in_s3_is_judged_as_the_folder_it_mirrors(bucket: Bucket, tmp_path: Path) -> None:
    many(tmp_path / "days", 3)
    for path in (tmp_path / "days").iterdir():
        bucket.put(f"incoming/{path.name}", path.read_bytes())
    act(tmp_path / "days", tmp_path / "local", fdr=0.2)
    remote = act(f"s3://{bucket.name}/incoming", tmp_path / "remote", fdr=0.2)
    assert contents(tmp_path / "remote") == contents(tmp_path / "local")
    assert remote.scored == 120 and not list(tmp_path.glob(".*"))
    with pytest.raises(UserError, match="its bucket does not exist"):
        act(f"s3://{bucket.name}-gone/incoming", tmp_path / "gone")


IMAGES = {
    "shape": (draw(3, 1)[:, :, :7], "x.npy: holds records of 1x7x8 (uint8), and hourglass/1 takes images of 1x8x8"),
    "channels": (np.zeros((3, 3, 8, 8), np.uint8), "x.npy: holds records of 3x8x8 (uint8), and hourglass/1 takes"),
    "dtype": (draw(3, 1).astype(np.float32), "x.npy: holds float32 of shape (3, 1, 8, 8), neither uint8 images nor"),
    "columns": (np.zeros((3, 4), np.float32), "x.npy: holds records of 4 (float32), and hourglass/1 takes images"),
    "empty": (draw(3, 1)[:0], "x.npy: holds uint8 of shape (0, 1, 8, 8), which is nothing"),
}


@pytest.mark.parametrize("case", IMAGES)
def test_images_that_the_model_does_not_take_are_refused(tmp_path: Path, case: str) -> None:
    records, message = IMAGES[case]
    np.save(tmp_path / "x.npy", records)
    with pytest.raises(UserError, match=re.escape(message)):
        act(tmp_path / "x.npy", tmp_path / "out")
    assert not (tmp_path / "out").exists()


ROWS = {
    "missing": (lambda f: f.drop(columns="age"), "x.csv: has no column 'age', which rows/1 takes (it has note, key,"),
    "renamed": (lambda f: f.rename(columns={"age": "aeg"}), "has no column 'age', which rows/1 takes"),
    "number": (lambda f: f.astype({"age": object}).assign(age=["1"] * 40 + ["old"] + ["2"] * 49),
               "x.csv: row 40, column 'age': found 'old', expected a finite number, or nothing for a missing value"),
    "infinity": (lambda f: f.assign(age=np.inf), "row 0, column 'age': found 'inf', expected a finite number"),
    "date": (lambda f: f.assign(since="soon"), "column 'since': found 'soon', expected a date (ISO 8601)"),
    "truth": (lambda f: f.assign(member="perhaps"), "column 'member': found 'perhaps', expected true or false"),
    "empty": (lambda f: f.iloc[:0], "x.csv: holds no record that can be scored"),
    "id": (lambda f: f.drop(columns="key"), "--id: x.csv has no column 'key'"),
}  # fmt: skip


@pytest.mark.parametrize("case", ROWS)
def test_rows_that_the_model_does_not_take_are_refused(tmp_path: Path, case: str) -> None:
    change, message = ROWS[case]
    change(as_users_have_it()).to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(UserError, match=re.escape(message)):
        act(tmp_path / "x.csv", tmp_path / "out", model="rows/1", id="key")


def test_nan_in_arrays_is_refused_with_its_record(tmp_path: Path) -> None:
    manifest = replace(image_manifest(), kind="array", item_shape=[4], dtype="float32")
    model = Model("numbers", "1", "0" * 64, 9, tmp_path, manifest)
    for value, message in ((np.nan, "record 2 holds NaN or infinity"), (1e300, "record 2 leaves the range of float32")):
        records = np.zeros((5, 4))
        records[2, 1] = value
        np.save(tmp_path / "x.npy", records)
        (piece,) = arrays.pieces([File("x.npy", tmp_path / "x.npy")], model, tmp_path)
        with pytest.raises(UserError, match=message):
            list(arrays.batches(piece, model, None))


MODELS = {
    "hourglass@champoin": "--model: unknown alias of hourglass 'champoin'; did you mean 'champion'?",
    "hourglass/9": "--model: unknown version of hourglass '9'; known: 1",
    "hourglas/1": "--model: unknown model 'hourglas'; did you mean 'hourglass'?",
    "hourglass": "--model: 'hourglass' names no version; write NAME@champion, or NAME/3",
    "rows@champion": ": holds days.npy, and rows/1 takes rows with age, since, member, city; expected files",
}


@pytest.mark.parametrize("reference", MODELS)
def test_versions_that_are_not_there_or_of_other_data_are_refused(tmp_path: Path, reference: str) -> None:
    np.save(tmp_path / "days.npy", draw(3, 1))
    with pytest.raises(UserError, match=re.escape(MODELS[reference])):
        act(tmp_path / "days.npy", tmp_path / "out", model=reference)


@pytest.mark.parametrize("damage", ["truncated", "gone", "other"])
def test_a_damaged_graph_is_refused_by_its_digest(tmp_path: Path, damage: str) -> None:
    np.save(tmp_path / "days.npy", draw(3, 1))
    version = client().get_model_version("rows", "1")
    path = Path(version.source.removeprefix("file://")) / "artifacts/scorer.onnx"
    whole = path.read_bytes()
    try:
        {"truncated": lambda: path.write_bytes(whole[:-10]), "gone": path.unlink,
         "other": lambda: path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))}[damage]()  # fmt: skip
        with pytest.raises(
            UserError, match=r"scorer\.onnx of rows/1 is damaged, it is not the file that was registered"
        ):
            act(tmp_path / "days.npy", tmp_path / "out", model="rows/1")
    finally:
        path.write_bytes(whole)


def test_a_rate_that_finds_nothing_and_a_folder_that_is_not_ours_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "days.npy", draw(3, 1))
    with pytest.raises(UserError, match=r"--fdr: 0.004 finds nothing with the 199 .* ask for 0.005 or more"):
        act(tmp_path / "days.npy", tmp_path / "out", fdr=0.004)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").touch()
    with pytest.raises(UserError, match="is there, and holds no scores of an earlier run"):
        act(tmp_path / "days.npy", tmp_path / "mine")
    with pytest.raises(UserError, match=r"lies in .*, where it would be scored"):
        act(tmp_path, tmp_path / "out")
    with pytest.raises(UserError, match="is not there; name a file, a folder or s3://"):
        act(tmp_path / "nights.npy", tmp_path / "out")


def test_dvc_versions_the_answer_when_asked(tmp_path: Path) -> None:
    np.save(tmp_path / "days.npy", draw(30, 1))
    must("dvc", "init", "-q", "--no-scm", cwd=Path.cwd())
    act(tmp_path / "days.npy", Path("scores/days"), dvc=True)
    assert "path: days" in Path("scores/days.dvc").read_text() and ".dir" in Path("scores/days.dvc").read_text()
    assert act(tmp_path / "days.npy", Path("scores/days"), dvc=True).scored == 0


def test_the_flow_tries_again_after_a_kill_and_says_what_was_left_out(tmp_path: Path, prefect_home: Path) -> None:
    home = shutil.copytree(prefect_home, tmp_path / "prefect")
    many(tmp_path / "days", 60, 400)
    (tmp_path / "days/torn.png").write_bytes(b"no picture")
    work = tmp_path / ".out.scoring"
    command = [sys.executable, "-m", "flows.scoring", str(tmp_path / "days"), "--out", str(tmp_path / "out"),
               "--skip-limit", "1", "--jobs", "2"]  # fmt: skip
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    flow = subprocess.Popen(command, env=environment(PREFECT_HOME=str(home)), **output)
    assert wait_until(lambda: len(list(work.glob("*.parquet"))) >= 3, 120)
    (child,) = (pid for pid in descendants_of(flow.pid) if "components.score" in command_of(pid))
    os.kill(int(child), signal.SIGKILL)
    log = flow.communicate(timeout=120)[0]
    assert flow.returncode == 3, log
    assert "killed by SIGKILL" in log and "scored      24,000 records in 61 parts" in log
    assert "skipped     torn.png" in log and "Traceback" not in log
    act(tmp_path / "days", tmp_path / "undisturbed", skip_limit=1)
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")


def command_of(pid: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []

"""Codes of a batch, their cache, and nearest training records: the same bytes with a full cache, an empty one and none.

References: NumPy for codes, onnxruntime on the registered file, scikit-learn in float64 for neighbours, an undisturbed
run for one that was killed, monitoring itself for what its column is good for.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import environment
from made_tables import as_users_write, draw_rows, features_of
from made_versions import codes_of, draw, enter_registry, make_images, make_rows, register
from publications import MLFLOWS_OWN, NAME, client
from sklearn.neighbors import NearestNeighbors
from toy_project import descendants_of, is_alive, wait_until

from components.bulk.options import Request, add_options, as_arguments
from components.coding.cache import CODES, VARIABLE
from components.coding.encoder import Encoder
from components.drift import Request as Watched
from components.drift import look
from components.params.drift import Params
from components.publishing.listing import digest_records
from components.runtime.errors import UserError
from components.score import Answer, score, summary

pytestmark = [pytest.mark.filterwarnings(warning) for warning in MLFLOWS_OWN]
TRAINED_ON = 300


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout whose `artifacts` are those of the model `hourglass` of images; `rows` takes tables."""
    root = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(variable, raising=False)
        patch.chdir(root)
        enter_registry(root)
        register(make_rows(root / "artifacts"), "rows")
        Path("artifacts").rename("artifacts-of-rows")
        register(make_images(root / "artifacts", TRAINED_ON))
        yield root


@pytest.fixture(autouse=True)
def here(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(registry)
    monkeypatch.delenv(VARIABLE, raising=False)
    shutil.rmtree(CODES, ignore_errors=True)


def act(source: Path, out: Path, **options: Any) -> Answer:
    return score(Request(str(source), out=out, **{"jobs": 1, **options}), 1, f"{NAME}@champion")


def table(out: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(part) for part in sorted(out.glob("part-*.parquet"))], ignore_index=True)


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def many(folder: Path, files: int, records: int = 40) -> np.ndarray:
    """Files of a few images; returns all of them in order."""
    folder.mkdir()
    images = [draw(records, 500 + number) for number in range(files)]
    for number, of_file in enumerate(images):
        np.save(folder / f"day-{number:03d}.npy", of_file)
    return np.concatenate(images)


def registered_scorer() -> Path:
    version = client().get_model_version(NAME, "1")
    return Path(version.source.removeprefix("file://")) / "artifacts/scorer.onnx"


def stacked(column: pd.Series) -> np.ndarray:
    return np.stack(column.to_numpy())


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of each batch that an encoder really computed."""
    sizes: list[int] = []
    run_graph = Encoder._run

    def counting(self: Encoder, feed: dict[str, np.ndarray]) -> np.ndarray:
        sizes.append(len(next(iter(feed.values()))))
        return run_graph(self, feed)

    monkeypatch.setattr(Encoder, "_run", counting)
    return sizes


def test_codes_are_those_of_the_registered_graph_whatever_the_cache_holds(
    tmp_path: Path, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = many(tmp_path / "days", 3)
    before = client().search_runs([client().get_experiment_by_name(NAME).experiment_id])
    answer = act(tmp_path / "days", tmp_path / "out", codes=True)
    found = table(tmp_path / "out")
    session = onnxruntime.InferenceSession(registered_scorer(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(stacked(found["code"]), session.run(["code"], {"input": images})[0])
    np.testing.assert_allclose(stacked(found["code"]), codes_of(images), rtol=1e-5)
    np.testing.assert_array_equal(found["digest"], digest_records(images))
    assert found["id"].tolist() == [f"day-{day:03d}.npy:{row}" for day in range(3) for row in range(40)]
    assert set(found["model_version"]) == {f"{NAME}/1"} and set(found) == {
        "id", "model_version", "digest", "model_digest", "code"}  # fmt: skip
    assert str(pq.read_schema(tmp_path / "out/part-00000.parquet").field("code").type) == (
        "fixed_size_list<element: float>[8]"
    )
    assert "120 records in 3 parts" in summary(answer) and "codes" in summary(answer)
    assert len(client().search_runs([before[0].info.experiment_id])) == len(before), "MLflow is told of scores only"

    probes = len(computed) - 3
    again = act(tmp_path / "days", tmp_path / "out", codes=True)
    full = act(tmp_path / "days", tmp_path / "full", codes=True)
    assert (again.scored, full.scored) == (0, 120)
    assert computed[-1] == computed[0] and len(computed) == 3 + 2 * probes, "what is known was computed again"
    monkeypatch.setenv(VARIABLE, "0")
    shutil.rmtree(CODES)
    act(tmp_path / "days", tmp_path / "none", codes=True)
    assert not CODES.exists()
    assert contents(tmp_path / "full") == contents(tmp_path / "none") == contents(tmp_path / "out")


def test_only_new_records_are_computed_and_a_damaged_segment_is_made_again(tmp_path: Path, computed: list[int]) -> None:
    images = many(tmp_path / "days", 1)
    act(tmp_path / "days", tmp_path / "first", codes=True)
    mixed = np.concatenate([draw(7, 900), images[::-1], draw(7, 900)])
    np.save(tmp_path / "mixed.npy", mixed)
    computed.clear()
    act(tmp_path / "mixed.npy", tmp_path / "mixed", codes=True)
    assert computed[1:] == [14], "behind the block of noise, only the new ones"
    np.testing.assert_allclose(stacked(table(tmp_path / "mixed")["code"]), codes_of(mixed), rtol=1e-5)

    segments = sorted(CODES.glob("*/*.codes"))
    whole = [segment.read_bytes() for segment in segments]
    segments[0].write_bytes(whole[0][:-1] + bytes([whole[0][-1] ^ 1]))
    segments[1].write_bytes(whole[1][:100])
    computed.clear()
    act(tmp_path / "mixed.npy", tmp_path / "mended", codes=True)
    assert sum(computed[1:]) == 54 and contents(tmp_path / "mended") == contents(tmp_path / "mixed")
    assert not any(segment.exists() and segment.read_bytes() not in whole for segment in segments)


def test_killed_it_goes_on_where_it_was_and_two_at_once_agree(tmp_path: Path) -> None:
    many(tmp_path / "days", 40, 1000)
    work = tmp_path / ".out.scoring"

    def start(out: str, jobs: int) -> subprocess.Popen:
        command = [sys.executable, "-m", "components.score", str(tmp_path / "days"), "--codes", f"--jobs={jobs}"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([*command, "--out", str(tmp_path / out)], env=environment(), **quiet)

    killed = start("out", 2)
    assert wait_until(lambda: len(list(work.glob("*.parquet"))) >= 3, 120)
    family = descendants_of(killed.pid)
    killed.kill()
    killed.wait()
    assert wait_until(lambda: not any(map(is_alive, family)), 15)
    done = len(list(work.glob("*.parquet")))
    assert not (tmp_path / "out").exists() and 0 < done < 40
    both = [start("out", 1), start("beside", 1)]
    assert [process.wait(240) for process in both] == [0, 0]
    assert not work.exists()
    shutil.rmtree(CODES)
    act(tmp_path / "days", tmp_path / "undisturbed", codes=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "beside") == contents(tmp_path / "undisturbed")


def test_rows_of_a_table_have_codes_and_no_cache(tmp_path: Path) -> None:
    rows = draw_rows(50, 3)
    as_users_write(rows).to_parquet(tmp_path / "rows.parquet", index=False)
    act(tmp_path / "rows.parquet", tmp_path / "codes", codes=True, model="rows/1")
    act(tmp_path / "rows.parquet", tmp_path / "scores", with_codes=True, model="rows/1")
    for out in ("codes", "scores"):
        np.testing.assert_allclose(stacked(table(tmp_path / out)["code"]), features_of(rows), rtol=1e-5, atol=1e-6)
    assert not CODES.exists()


def test_scores_with_codes_are_the_same_scores(tmp_path: Path) -> None:
    images = many(tmp_path / "days", 2)
    act(tmp_path / "days", tmp_path / "plain", fdr=0.2)
    act(tmp_path / "days", tmp_path / "with", fdr=0.2, with_codes=True)
    found = table(tmp_path / "with")
    np.testing.assert_allclose(stacked(found.pop("code")), codes_of(images), rtol=1e-5)
    pd.testing.assert_frame_equal(found, table(tmp_path / "plain"))
    act(tmp_path / "days", tmp_path / "with", fdr=0.2)
    assert contents(tmp_path / "with") == contents(tmp_path / "plain"), "another wish is another answer"


def test_monitoring_finds_codes_that_moved_and_no_others(tmp_path: Path) -> None:
    for name, shift in (("still", 0), ("moved", 40)):
        (tmp_path / name).mkdir()
        images = draw(TRAINED_ON, 70).astype(int)
        images[..., :4] += shift  # the left half is brighter
        np.save(tmp_path / name / "day.npy", images.clip(0, 255).astype(np.uint8))
        act(tmp_path / name, tmp_path / f"{name}-scores", with_codes=True)
        seen = look(Watched(tmp_path / f"{name}-scores"), NAME, Params(), 7)
        verdicts = {finding["check"]: finding["verdict"] for finding in seen.findings}
        expected = "problem" if shift else "ok"
        assert (verdicts["energy"], verdicts["units"]) == (expected, expected)
        shutil.rmtree(".monitoring")


def test_neighbours_are_scikit_learns(tmp_path: Path, computed: list[int]) -> None:
    train = np.load("artifacts/prepare/train.npy")
    images = np.concatenate([draw(60, 41, strange=3), train[[17, 5]]])
    np.save(tmp_path / "new.npy", images)
    answer = act(tmp_path / "new.npy", tmp_path / "out", neighbours=4)
    found = table(tmp_path / "out")
    distances, rows = NearestNeighbors(n_neighbors=4).fit(codes_of(train)).kneighbors(codes_of(images))
    assert [list(names) for names in found["neighbours"]] == [[f"train:{row}" for row in each] for each in rows]
    np.testing.assert_allclose(stacked(found["distances"]), distances, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found["mean_distance"], distances.mean(1), rtol=1e-3)
    assert [names[0] for names in found["neighbours"][-2:]] == ["train:17", "train:5"]
    assert [each[0] for each in found["distances"][-2:]] == [0, 0]
    page = (tmp_path / "out/strangest.html").read_text()
    assert page.count("data:image/png") == 20 * 5 and "http" not in page and "<script" not in page
    farthest = found["id"][distances.mean(1).argsort()[::-1][:3]].tolist()
    assert answer.manifest["strangest"][:3] == farthest and "strangest" in summary(answer)
    computed.clear()
    again = act(tmp_path / "new.npy", tmp_path / "again", neighbours=4, jobs=1)
    assert again.scored == 62 and set(computed) == {64}, "all codes are in the cache, those of training records too"
    assert contents(tmp_path / "again") == contents(tmp_path / "out")
    assert act(tmp_path / "new.npy", tmp_path / "out", neighbours=3).scored == 62


@pytest.fixture
def beside_rows(here: None) -> Iterator[None]:
    """The checkout while it holds the artifacts of the table."""
    Path("artifacts").rename("artifacts-of-images")
    Path("artifacts-of-rows").rename("artifacts")
    yield
    Path("artifacts").rename("artifacts-of-rows")
    Path("artifacts-of-images").rename("artifacts")


@pytest.mark.usefixtures("beside_rows")
def test_rows_have_neighbours_among_rows(tmp_path: Path) -> None:
    rows = draw_rows(4, 0)  # the training rows themselves
    as_users_write(rows).to_csv(tmp_path / "rows.csv", index=False)
    act(tmp_path / "rows.csv", tmp_path / "out", neighbours=2, model="rows/1")
    assert [names[0] for names in table(tmp_path / "out")["neighbours"]] == [f"train:{row}" for row in range(4)]
    assert "train:2" in (tmp_path / "out/strangest.html").read_text()


REFUSED = {
    "gone": r"--neighbours: artifacts/prepare/train.npy is not here, and the neighbours .* `dvc pull`",
    "other": r"--neighbours: artifacts/prepare/train.npy is not what hourglass/1 was trained on; check out the commit",
    "many": r"--neighbours: asks for 301, and hourglass/1 was trained on 300 records; ask for fewer",
}


@pytest.mark.parametrize("case", REFUSED)
def test_neighbours_that_cannot_be_had_are_refused(tmp_path: Path, case: str) -> None:
    np.save(tmp_path / "new.npy", draw(3, 1))
    train = Path("artifacts/prepare/train.npy")
    whole = train.read_bytes()
    try:
        {"gone": train.unlink, "other": lambda: np.save(train, draw(9, 9)), "many": lambda: None}[case]()
        with pytest.raises(UserError, match=REFUSED[case]):
            act(tmp_path / "new.npy", tmp_path / "out", neighbours=301)
        assert not (tmp_path / "out").exists()
    finally:
        train.write_bytes(whole)


WRONG = {
    "--codes --neighbours": "argument --neighbours: not allowed with argument --codes",
    "--codes --with-codes": "not allowed with argument",
    "--neighbours=0": "argument --neighbours: must be at least 1, got '0'",
    "--neighbours=few": "argument --neighbours: must be a whole number, got 'few'",
}


@pytest.mark.parametrize("arguments", WRONG)
def test_wishes_that_exclude_each_other_are_refused(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["new.npy", *arguments.split()])
    assert WRONG[arguments] in capsys.readouterr().err


@pytest.mark.parametrize("wish", [{"codes": True}, {"with_codes": True}, {"neighbours": 7}, {"neighbours": 5}])
def test_the_flow_hands_a_wish_on(wish: dict[str, Any]) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    request = Request("new.npy", **wish)
    assert Request(**vars(parser.parse_args(as_arguments(request)))) == request
    assert Request(**vars(parser.parse_args(["new.npy", "--neighbours"]))).neighbours == 5


def test_wishes_that_cannot_be_met_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "new.npy", draw(3, 1))
    with pytest.raises(UserError, match="--fdr: decides about scores, and none are asked for; leave it out"):
        act(tmp_path / "new.npy", tmp_path / "out", codes=True, fdr=0.1)
    monkeypatch.setenv(VARIABLE, "all")
    with pytest.raises(UserError, match="HOURGLASS_CODES_MIB: must be a whole number of MiB, got 'all'; set it"):
        act(tmp_path / "new.npy", tmp_path / "out", codes=True)

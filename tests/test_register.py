"""Publishing: complete, once, from any interruption, only what dvc.lock describes; every mistake is named.

References: an undisturbed publication for completeness, a pipeline that DVC itself ran for the digests in dvc.lock.
"""

import contextlib
import hashlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import edit_params, run
from publications import (
    MLFLOWS_OWN,
    NAME,
    SCORER,
    WINNER,
    Killed,
    aliases,
    artifacts,
    client,
    enter,
    everything,
    killing,
    relock,
    runs,
    write_scorer,
)
from ruamel.yaml import YAML

from components.drift import Request, look
from components.params import drift
from components.params.register import Params
from components.publishing import key
from components.publishing.results import load_results
from components.publishing.version import shortened
from components.register import Outcome, publish, push_data, rollback, summary
from components.runtime.errors import UserError

pytestmark = [pytest.mark.filterwarnings(warning) for warning in MLFLOWS_OWN]


@pytest.fixture
def here(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished checkout with a good winner and nothing published, as working directory."""
    return enter(checkout, monkeypatch)


@dataclass(frozen=True)
class Published:
    """A publication and what it left."""

    outcome: Outcome
    state: dict[str, object]


@pytest.fixture(scope="module")
def published(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """One undisturbed publication, its checkout the working directory, for the tests that only look at it."""
    target = tmp_path_factory.mktemp("published") / "checkout"
    shutil.copytree(finished, target, symlinks=True)
    with pytest.MonkeyPatch.context() as patch:
        enter(target, patch)
        yield Published(publish(Params()), everything())


def test_everything_about_a_pipeline_is_in_mlflow(published: Published) -> None:
    found = runs()
    variants = load_results().variants
    assert set(found) == {"pipeline", *variants}
    parent, child = found["pipeline"], found[WINNER]
    metrics = json.loads(Path(f"artifacts/evaluate/{WINNER}/metrics.json").read_text())
    epochs = len(Path(f"artifacts/train/{WINNER}/history.csv").read_text().splitlines()) - 1
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.metrics["mse"] == pytest.approx(metrics["mse"])
    assert len(client().get_metric_history(child.info.run_id, "validation_loss")) == epochs
    assert child.data.params["model"] == "vanilla" and "params.latent_dim" in child.data.params
    assert child.data.tags["hourglass.commit"] == key.code_state().commit
    assert child.data.tags["hourglass.dvc_lock"] == hashlib.sha256(Path("dvc.lock").read_bytes()).hexdigest()
    assert child.inputs.dataset_inputs[0].dataset.name == "digits"
    assert {"export/scorer.onnx", "evaluate/metrics.json", "train/history.csv"} <= artifacts(child)
    assert any(path.startswith("evaluate/plots/") for path in artifacts(child))
    assert child.data.metrics["speed.records_per_second"] > 0 and child.data.tags["hourglass.speed.device"] == "cpu"
    assert {"promotion.json", "report.html", "dvc.lock", "params.yaml", "leaderboard.json"} <= artifacts(parent)
    simple = json.loads(Path("artifacts/baseline/neighbours/metrics.json").read_text())
    assert parent.data.metrics["neighbours/auroc"] == pytest.approx(simple["auroc"])
    assert "baselines.csv" in artifacts(parent)
    assert all(run.info.status == "FINISHED" for run in found.values())


def test_the_first_version_leads_and_carries_what_rebuilds_it(published: Published) -> None:
    assert aliases() == {"challenger": "1", "champion": "1"}
    assert summary(published.outcome).splitlines()[:2] == [
        f"registered  hourglass version 1 ({WINNER}), alias challenger",
        "champion    version 1: every gate holds, and there was no champion",
    ]
    files = {path for path in artifacts(runs()[WINNER]) if path.startswith("model/provenance/")}
    names = {"dvc.lock", "params.yaml", "requirements.lock", "manifest.json", "listing.npy"}
    assert files == {f"model/provenance/{name}" for name in names}
    reference = {path for path in artifacts(runs()[WINNER]) if path.startswith("model/reference/")}
    names = {"threshold.json", "calibration_scores.npy", "codes.npy", "missing.json"}
    assert reference == {f"model/reference/{name}" for name in names}
    version = client().get_model_version(NAME, "1")
    assert version.tags["hourglass.dirty"] == "false"
    assert version.description == shortened(SCORER.with_name("card.md").read_text(), 5000)
    # by this, batch scoring refuses a damaged graph
    assert version.tags["hourglass.scorer_sha256"] == hashlib.sha256(SCORER.read_bytes()).hexdigest()


def test_a_long_card_is_cut_between_sections_and_says_so() -> None:
    card = "# Model\n\nwhat\n" + "".join(f"\n## {name}\n\n{name * 40}\n" for name in "abc")
    assert shortened(card, len(card)) == card
    short = shortened(card, len(card) - 1)
    assert len(short) < len(card) and "## a\n" in short and "## c" not in short
    assert short.endswith("are in card.md, among the files of this version's run.\n")


def test_the_champion_loads_by_its_alias(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{Path('mlflow.db').resolve()}")
    model = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    answer = model.predict(np.load("artifacts/prepare/test.npy")[:3])
    assert {name: len(values) for name, values in answer.items()}.items() >= {"score": 3, "p_value": 3}.items()


def test_a_second_publication_adds_nothing(published: Published) -> None:
    before = everything()
    again = publish(Params())
    assert everything() == before
    assert not again.is_new and "nothing was added" in summary(again)
    assert key.is_published()


def test_an_analysis_joins_the_run_that_is_there(here: Path) -> None:
    publish(Params())
    before = runs()[WINNER].info.run_id
    edit_params(here, analyse={"variants": [WINNER]})
    page = Path("artifacts/analyse") / WINNER / "analysis.html"
    page.parent.mkdir(parents=True)
    page.write_text("<!doctype html>")
    lock = YAML(typ="safe").load(Path("dvc.lock").read_text())
    lock["stages"][f"analyse@{WINNER}"] = {"cmd": "x", "outs": [{"path": str(page), "hash": "md5"}]}
    with Path("dvc.lock").open("w") as stream:
        YAML(typ="safe").dump(lock, stream)
    relock()
    publish(Params())
    found = runs()[WINNER]
    assert found.info.run_id == before and found.info.status == "FINISHED"
    assert "analyse/analysis.html" in artifacts(found)
    page.write_text("<!doctype html><p>another")
    with pytest.raises(UserError, match=r"analysis\.html: is not the file that dvc\.lock names for analyse@vanilla"):
        publish(Params())


def test_a_registered_version_can_be_monitored(published: Published) -> None:
    records = np.load("artifacts/prepare/test.npy")
    session = onnxruntime.InferenceSession(SCORER)
    scores, codes = session.run(["score", "code"], {"input": records})
    Path("scored").mkdir()
    table = {"score": scores, "code": pa.array(list(codes), pa.list_(pa.float32()))}
    pq.write_table(pa.table(table), "scored/part-0.parquet")
    found = look(Request(Path("scored")), NAME, drift.Params(), 7)
    assert found.new_records == len(records)
    verdicts = {finding["check"]: finding["verdict"] for finding in found.findings}
    assert {name for name, verdict in verdicts.items() if verdict == "not_applicable"} == {
        "schema", "unreadable", "missing",
    }  # fmt: skip


def test_an_interrupted_publication_continues_without_duplicates(
    published: Published, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths = 0
    while deaths < 60 and not key.is_published():  # each life gets one call further than the one before
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            killing(deaths + 1, patch)
            publish(Params())
        deaths += not key.is_published()
    assert 10 < deaths < 60
    assert everything() == published.state


def test_what_a_run_changes_is_no_uncommitted_code(here: Path) -> None:
    with Path("params.yaml").open("a") as stream:
        stream.write("# travels with the version, like dvc.lock\n")
    assert not key.code_state().dirty


def test_data_reaches_the_remote_before_anything_is_registered(here: Path) -> None:
    config, remote = Path(".dvc/config.local"), here.parent / "remote"
    lines = "[core]\n    remote = backup\n['remote \"backup\"']\n    url = {}\n"
    config.write_text(lines.format(Path("params.yaml").resolve()))  # a file cannot hold files
    with pytest.raises(UserError, match=r"dvc push: .* nothing was registered"):
        publish(Params())
    assert not client().search_registered_models()
    config.write_text(lines.format(remote))
    push_data()
    assert any(remote.rglob("*"))


def test_the_command_says_what_happened_and_nothing_else(here: Path) -> None:
    Path("mlflow.db").unlink()  # making a store is quiet too
    done = run(sys.executable, "-m", "components.register", cwd=here)
    heads = [line.partition("  ")[0] for line in done.stdout.splitlines()]
    assert (done.returncode, heads, done.stderr) == (0, ["registered", "champion", "look at it", "serve it"], "")
    done = run(sys.executable, "-m", "components.register", "rolback", cwd=here)
    assert done.returncode == 2 and done.stderr.startswith(
        "error: components.register: unknown argument 'rolback'; use"
    )


def test_only_what_dvc_lock_describes_is_published(here: Path) -> None:
    write_scorer(9)
    with pytest.raises(UserError, match=r"is not the file that dvc.lock names for export@vanilla; run `dvc repro`"):
        publish(Params())
    Path("dvc.lock").unlink()
    with pytest.raises(UserError, match=r"dvc.lock: is missing, there are no results to publish"):
        publish(Params())


def test_a_server_that_is_away_is_noticed_at_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        uri = f"http://me:secret@127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    started = time.monotonic()
    with pytest.raises(UserError, match=r"http://127.0.0.1:\d+: the tracking server is away .* run again"):
        publish(Params())
    assert time.monotonic() - started < 5
    assert not key.is_published()


def test_mistakes_are_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(Params())
    with pytest.raises(UserError, match=r"unknown registered model 'hourglas'; did you mean 'hourglass'\?"):
        rollback(Params(name="hourglas"))
    monkeypatch.chdir(shutil.copytree(here, here.with_name("copy"), symlinks=True))
    with pytest.raises(UserError, match=r"mlflow.db: was made in another checkout, its artifacts lie in .*/checkout/"):
        publish(Params())


def test_what_was_published_is_known_without_heavy_imports(here: Path) -> None:
    code = "import sys, components.publishing.key as key; "
    code += "print(key.is_published(), {'mlflow', 'numpy', 'pydantic'} & {*sys.modules})"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False set()\n"

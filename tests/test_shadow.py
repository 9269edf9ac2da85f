"""Versions in shadow: they score the champion's records, and what they show moves the alias once, whatever breaks off.

References: SciPy and counts by hand for the comparison, an undisturbed run for one that was killed at every call.
"""

import contextlib
import csv
import shutil
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from conftest import edit_params, environment
from made_versions import calibration, draw, enter_registry, make_images, register, scores_of
from publications import MLFLOWS_OWN, NAME, Killed, aliases, client, killing
from scipy.stats import binomtest, spearmanr

from components.bulk.options import Request
from components.drift import Request as Look
from components.drift import look
from components.params import drift
from components.params.register import Params
from components.publishing.moves import Aliases, Entry, Move, history, make
from components.publishing.store import open_store
from components.register import choose, settle
from components.runtime.errors import UserError
from components.score import score
from components.scoring.conformal import Calibration

pytestmark = [pytest.mark.filterwarnings(warning) for warning in MLFLOWS_OWN]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
RULES = Params(shadow_records=200, shadow_hours=6, probation_hours=48)
PLACES = (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("model_versions", "source"),
          ("model_versions", "storage_location"))  # fmt: skip
LOOSE = 0.5
"""Factor of the calibration scores of a version that alarms far more often than it promises."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 leads, version 2 is its equal, version 3 alarms too often; read only."""
    root = tmp_path_factory.mktemp("registry") / "checkout"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        _enter(root, patch)
        enter_registry(root)
        for factor, leads in ((1, True), (1, False), (LOOSE, False)):
            register(make_images(root / "artifacts", loosened=factor), leads=leads)
            shutil.rmtree("artifacts")
        edit_params(root, register=RULES.model_dump())
    return root


@pytest.fixture
def here(registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The registry of this test alone, the working directory."""
    root = tmp_path / "checkout"
    shutil.copytree(registry, root, symlinks=True)
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        for table, column in PLACES:  # MLflow notes where artifacts lie
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(registry), str(root)))  # noqa: S608
    _enter(root, monkeypatch)
    return root


def _enter(root: Path, patch: pytest.MonkeyPatch) -> None:
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        patch.delenv(variable, raising=False)
    patch.chdir(root)


def begin(version: str, now: datetime = NOON) -> None:
    """Put a version into shadow of version 1, as a won match does."""
    with open_store(NAME) as store:
        leading = Aliases("1")
        make(store, Move("found", "1", Aliases(), leading, "it led"), "found", now)
        make(store, Move("shadow begun", version, leading, Aliases("1", shadow=version), "it won"), "begun", now)


def promote(version: str, now: datetime = NOON) -> None:
    """Have a version take over from version 1, as a won match does."""
    with open_store(NAME) as store:
        make(store, Move("found", "1", Aliases(), Aliases("1"), "it led"), "found", now)
        make(store, Move("promoted", version, Aliases("1"), Aliases(version, previous="1"), "it won"), "won", now)


def score_day(day: int, records: int = 300, strange: int = 0, now: datetime = NOON) -> np.ndarray:
    """A batch of new records, scored by the champion."""
    images = draw(records, 1000 + day, strange)
    Path("in").mkdir(exist_ok=True)
    np.save(f"in/day-{day}.npy", images)
    score(Request(f"in/day-{day}.npy", jobs=1), 1, f"{NAME}@champion", now)
    return images


def moves() -> list[tuple[str, str, str | None]]:
    """What was done to which version, and who led afterwards."""
    return [(entry.move.kind, entry.move.version, entry.move.after.champion) for entry in entries()]


def entries() -> list[Entry]:
    with open_store(NAME) as store:
        return history(store)


def shadows() -> set[str]:
    return {path.parent.relative_to("scores").as_posix() for path in Path("scores").rglob(".shadow/*/*/manifest.json")}


def test_versions_in_shadow_score_what_the_champion_scores_and_nothing_else(here: Path) -> None:
    begin("2")
    score_day(1)
    assert shadows() == {".shadow/day-1.npy-hourglass-1/2"}
    score(Request("in/day-1.npy", jobs=1, model=f"{NAME}/3", out=Path("scores/mine")), 1, f"{NAME}@champion", NOON)
    assert shadows() == {".shadow/day-1.npy-hourglass-1/2"}
    shutil.rmtree("scores/mine")
    found = look(Look(Path("scores")), NAME, drift.Params(), 7)
    assert (found.version, found.new_records, found.set_aside) == ("1", 300, [])  # it does not see the shadow


def test_a_version_that_cannot_score_a_batch_does_not_stop_the_champion(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin("2")
    client().delete_model_version_tag(NAME, "2", "hourglass.scorer_sha256")
    score_day(1)
    assert not shadows() and "in shadow: hourglass/2 did not score this batch" in capsys.readouterr().err
    assert "0 new records scored by both, 50 are needed" in settle(RULES, Path("scores"), NOON).lines[0]


def test_the_comparison_is_what_counts_by_hand_say_and_is_told_to_mlflow_once(here: Path) -> None:
    begin("3")
    images = score_day(1, strange=30)
    for _ in range(2):
        settle(RULES, Path("scores"), NOON)
    scores = scores_of(images).astype(np.float32)
    ours, theirs = (Calibration.fit(calibration(factor), 0.05).alarms(scores) for factor in (1, LOOSE))
    run = client().get_run(entries()[-1].run_id)
    figures = run.data.metrics
    counts = {"both": ours & theirs, "only_champion": ours & ~theirs, "only_shadow": theirs & ~ours}
    assert {name: figures[f"alarms_{name}"] for name in counts} == {n: mask.sum() for n, mask in counts.items()}
    assert figures["alarms_neither"] == (~ours & ~theirs).sum() and figures["records"] == 300
    interval = binomtest(int(theirs.sum()), 300).proportion_ci(0.999, "exact")
    assert figures["shadow_alarm_rate_low"] == pytest.approx(interval.low)
    differ = int((ours != theirs).sum())
    assert figures["p"] == pytest.approx(binomtest(int((ours & ~theirs).sum()), differ).pvalue)
    assert figures["rank_correlation"] == pytest.approx(spearmanr(scores, scores).statistic)
    assert len(client().get_metric_history(run.info.run_id, "p")) == 1
    (listed,) = client().list_artifacts(run.info.run_id)
    with Path(client().download_artifacts(run.info.run_id, listed.path)).open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["id"] for row in rows} == {f"day-1.npy:{row}" for row in np.flatnonzero(ours != theirs)}
    assert all(row["champion_alarm"] != row["shadow_alarm"] for row in rows)


def test_a_good_version_takes_over_when_records_and_hours_are_enough(here: Path) -> None:
    begin("2")
    score_day(1, records=150)
    assert "150 of 200 records" in settle(RULES, Path("scores"), NOON + 7 * HOUR).lines[0]
    score_day(2, records=150)
    assert "until 2026-03-01 18:00 UTC" in settle(RULES, Path("scores"), NOON + 5 * HOUR).lines[0]
    assert aliases() == {"champion": "1", "shadow": "2"}
    found = settle(RULES, Path("scores"), NOON + 6 * HOUR)
    assert aliases() == {"champion": "2", "previous": "1"} and found.champion == "2"
    assert found.lines[0].startswith(
        "version 2 takes over from 1: its alarm rate in shadow kept its band: version 2 alarms on "
    )
    assert moves()[-1] == ("promoted", "2", "2") and not shadows()
    assert client().get_model_version(NAME, "2").tags["hourglass.last_move"].startswith("promoted on 2026-03-01 18:00")
    score_day(3, now=NOON + 7 * HOUR)  # now it is the one before that is in shadow
    assert shadows() == {".shadow/day-3.npy-hourglass-2/1"}


def test_a_version_whose_alarms_leave_their_band_in_shadow_is_refused(here: Path) -> None:
    begin("3")
    score_day(1)
    (line,) = settle(RULES, Path("scores"), NOON + 6 * HOUR).lines
    assert line.startswith("version 3 is refused: its alarm rate in shadow left its band: version 3 alarms on ")
    assert aliases() == {"champion": "1"} and moves()[-1] == ("refused", "3", "1") and not shadows()


def test_records_that_either_version_was_fitted_to_do_not_count(here: Path) -> None:
    begin("2")
    Path("in").mkdir()
    seen = [draw(4, seed) for seed in range(5)]  # train, validation, calibration, selection, test of all versions
    np.save("in/day.npy", np.concatenate([*seen, draw(100, 5000)]))
    score(Request("in/day.npy", jobs=1), 1, f"{NAME}@champion", NOON)
    assert "108 of 200 records" in settle(RULES, Path("scores"), NOON).lines[0]


def test_a_bad_champion_goes_back_once_and_does_not_return(here: Path) -> None:
    promote("3")
    score_day(1, now=NOON + HOUR)
    (line,) = settle(RULES, Path("scores"), NOON + 2 * HOUR).lines
    assert line.startswith("rolled back from version 3 to 1: its alarm rate left its band, version 1's did not")
    assert aliases() == {"champion": "1"} and moves()[-1] == ("rolled back", "3", "1")
    assert client().get_model_version(NAME, "3").tags["hourglass.rolled_back"] == "to version 1"
    for hours in (3, 60):
        score_day(hours, strange=150, now=NOON + hours * HOUR)  # whatever comes, no probation is left to end
        assert settle(RULES, Path("scores"), NOON + hours * HOUR).lines == ("no version is in shadow",)
    assert len(moves()) == 3


def test_where_the_data_moved_the_champion_stays(here: Path) -> None:
    promote("3")
    score_day(1, strange=150, now=NOON + HOUR)
    (line,) = settle(RULES, Path("scores"), NOON + 2 * HOUR).lines
    assert "both left their bands, so the data moved, retrain: version 1 alarms on " in line
    assert aliases()["champion"] == "3" and moves()[-1][0] == "promoted"


def test_a_bad_champion_goes_back_even_when_nobody_looked_in_time(here: Path) -> None:
    promote("3")
    score_day(1, now=NOON + HOUR)
    assert settle(RULES, Path("scores"), NOON + 90 * HOUR).lines[0].startswith("rolled back from version 3 to 1")


def test_a_probation_ends(here: Path) -> None:
    promote("2")
    score_day(1, now=NOON + HOUR)
    (line,) = settle(RULES, Path("scores"), NOON + 47 * HOUR).lines
    assert line.startswith("version 2 is on probation until 2026-03-03 12:00 UTC: version 1 alarms on ")
    assert "version 2 is confirmed" in settle(RULES, Path("scores"), NOON + 48 * HOUR).lines[0]
    assert settle(RULES, Path("scores"), NOON + 49 * HOUR).lines == ("no version is in shadow",)
    assert moves()[-1] == ("confirmed", "2", "2") and not shadows()
    score_day(2, now=NOON + 50 * HOUR)
    assert not shadows()


def test_a_shadow_of_a_champion_that_left_ends(here: Path) -> None:
    begin("2")
    client().set_registered_model_alias(NAME, "champion", "3")
    Path("scores").mkdir()
    (line,) = settle(RULES, Path("scores"), NOON).lines
    assert (
        line == "version 2 in shadow: its match was with version 1, not with 3; matched again at its next publication"
    )
    assert moves()[-2:] == [("found", "3", "3"), ("refused", "2", "3")] and aliases() == {"champion": "3"}


def test_killed_at_any_call_no_move_is_lost_or_doubled(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin("2")
    score_day(1)
    deaths = 0
    while (deaths < 40 and aliases().get("champion") != "2") or entries()[-1].state != "done":
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            killing(deaths + 1, patch)
            settle(RULES, Path("scores"), NOON + 6 * HOUR)
        assert aliases()["champion"] in ("1", "2")
        deaths += 1
    settle(RULES, Path("scores"), NOON + 6 * HOUR)
    assert 4 < deaths < 40
    assert moves() == [("found", "1", "1"), ("shadow begun", "2", "1"), ("promoted", "2", "2")]
    assert aliases() == {"champion": "2", "previous": "1"}
    assert [entry.state for entry in entries()] == ["done"] * 3


_DIE_AFTER_THE_ALIAS = """
import os, signal, sys
from mlflow.tracking import MlflowClient
MlflowClient.set_terminated = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
from components.register import main
sys.argv[1:] = {arguments}
main()
"""


def test_kill_9_between_the_alias_and_the_history(here: Path) -> None:
    promote("2")
    code = _DIE_AFTER_THE_ALIAS.format(arguments=["rollback", "--reason", "too many calls at night"])
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert aliases() == {"champion": "1"} and entries()[-1].state == "begun"
    command = [sys.executable, "-m", "components.register", "rollback"]
    again = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert again.stdout.startswith("champion of 'hourglass' is version 1 again, version 2 will not be promoted")
    last = entries()[-1]
    assert (last.state, last.number, last.move.reason) == ("done", 3, "too many calls at night")


def test_by_hand_with_a_reason_and_the_history_as_a_table(here: Path) -> None:
    promote("2")

    def act(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "components.register", *arguments]
        return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)

    told = act("--champion", f"{NAME}/3", "--reason", "the [night] shift asked for it")
    assert told.stdout == "champion of 'hourglass' is version 3, version 2 will not be promoted by itself any more\n"
    assert aliases() == {"champion": "3", "previous": "2"}
    assert client().get_model_version(NAME, "2").tags["hourglass.rolled_back"] == "to version 3 by hand"
    printed = act("--history").stdout.splitlines()
    assert [line.split()[0] for line in printed[1:]] == ["1", "2", "3"]
    assert "by hand" in printed[3] and "the [night] shift asked for it" in printed[3]


def test_mistakes_are_named(here: Path) -> None:
    for reference, reason, line in (
        (f"{NAME}/3", "", "--reason: a move by hand needs one"),
        (f"{NAME}/9", "x", f"--champion: unknown version of {NAME} '9'"),
        ("other/1", "x", f"--champion: 'other/1' is no version of '{NAME}'"),
    ):
        with pytest.raises(UserError, match=line):
            choose(RULES, reference, reason, NOON)
    with pytest.raises(UserError, match="nowhere: is not there"):
        settle(RULES, Path("nowhere"), NOON)


def test_a_damaged_answer_is_named(here: Path) -> None:
    begin("2")
    score_day(1)
    (part,) = Path("scores").glob("day-1*/part-*.parquet")
    part.write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"part-00000.parquet: is no readable part .*; score that batch again"):
        settle(RULES, Path("scores"), NOON)

"""Promotion: a version leads when its gates hold, its code is committed and it wins its match; a rollback lasts."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from publications import MLFLOWS_OWN, NAME, aliases, client, enter, win
from scipy.stats import binom

from components.params.register import Params
from components.publishing import key
from components.publishing.moves import history
from components.publishing.store import open_store
from components.register import choose, publish, rollback, summary
from components.runtime.errors import UserError
from components.scoring.metrics import mean_ratio

pytestmark = [pytest.mark.filterwarnings(warning) for warning in MLFLOWS_OWN]


@pytest.fixture
def here(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished checkout with a good winner and nothing published, as working directory."""
    return enter(checkout, monkeypatch)


def test_a_better_version_takes_over_and_a_worse_one_does_not(here: Path) -> None:
    publish(Params())
    win(8)
    worse = publish(Params())
    assert aliases() == {"challenger": "2", "champion": "1"}
    assert "stays: squared error +" in summary(worse) and "misses the margin of 0" in summary(worse)
    win(20)
    better = publish(Params())
    assert aliases() == {"challenger": "3", "champion": "3", "previous": "1"}
    assert "take back   python -m components.register rollback" in summary(better)
    decision = json.loads(client().get_model_version(NAME, "3").tags["hourglass.promotion"])
    assert decision["match"]["low"] > 0 and decision["champion_before"] == "1"


def test_a_rollback_lasts(here: Path) -> None:
    publish(Params())
    win(20)
    publish(Params())
    assert "champion of 'hourglass' is version 1 again" in rollback(Params())
    with pytest.raises(UserError, match="version 1 is the first champion of 'hourglass', there is none before it"):
        rollback(Params())
    again = publish(Params(margin=0.1))  # another question, so a new decision
    assert aliases()["champion"] == "1"
    assert "was rolled back to version 1" in summary(again)


def test_a_gate_that_fails_keeps_a_version_from_leading(here: Path) -> None:
    win(12, eligible=False, reasons=["export parity failed"])
    assert "none yet: export parity failed" in summary(publish(Params()))
    assert aliases() == {"challenger": "1"}
    win(12)
    assert aliases() and publish(Params()).champion == "1"


def test_uncommitted_code_cannot_lead_until_it_is_committed(here: Path) -> None:
    Path("components/models/mine.py").write_text("new = True\n")
    assert "the code differs from its commit" in summary(publish(Params()))
    assert client().get_model_version(NAME, "1").tags["hourglass.dirty"] == "true"
    assert publish(Params(allow_dirty=True)).champion == "1"
    subprocess.run(["git", "add", "components"], check=True)
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "mine"], check=True)
    assert not key.is_published()
    publish(Params())
    version = client().get_model_version(NAME, "1")
    assert version.tags["hourglass.dirty"] == "false" and version.tags["hourglass.commit"] == key.code_state().commit


def test_a_winner_goes_into_shadow_first_where_params_ask_for_it(here: Path) -> None:
    rules = Params(shadow_records=60, shadow_hours=12)
    assert publish(rules).champion == "1"  # the first has nobody to be in shadow of
    win(16)
    begun = publish(rules)
    assert aliases() == {"challenger": "2", "champion": "1", "shadow": "2"}
    assert "version 1 stays for now, version 2 is in shadow: squared error -" in summary(begun)
    assert "clears the margin of 0; in shadow first, for 60 records and 12 hours" in summary(begun)
    win(20)
    waits = publish(rules)
    assert "stays: version 2 is in shadow; asked again afterwards" in summary(waits) and not key.is_published()
    publish(rules)
    told = ["promoted", "shadow begun", "waits"]
    with open_store(NAME) as store:
        assert [entry.move.kind for entry in history(store)] == told  # a version that waits is told about once
    choose(rules, f"{NAME}/2", "it looks good enough")
    assert aliases() == {"challenger": "3", "champion": "2", "previous": "1"}
    assert publish(Params()).champion == "3" and key.is_published()
    with open_store(NAME) as store:
        last = history(store)[-1]
    assert (last.move.kind, last.move.before.champion) == ("promoted", "2")
    assert last.move.reason.startswith("squared error -") and last.move.figures["low"] > 0


def test_by_the_rule_an_equal_challenger_hardly_ever_takes_over() -> None:
    """The worse end of a two-sided 95 % interval is beyond the truth in 2.5 % of matches."""
    generator = np.random.default_rng(5)
    wins = 0
    for seed in range(400):
        common = generator.gamma(4, size=200)  # what is hard for one is hard for the other
        ours, theirs = (common * generator.gamma(20, 1 / 20, 200) for _ in range(2))
        wins += 1 - mean_ratio(ours, theirs, 200, seed).high > 0
    assert wins <= binom.ppf(0.999, 400, 0.035)  # percentiles of 200 resamples of 200 records are a little narrow


def test_a_champion_that_cannot_be_read_decides_nothing(here: Path) -> None:
    publish(Params())
    (here / "mlartifacts").rename(here / "elsewhere")
    win(20)
    with pytest.raises(UserError, match=r"the files of version 1, the champion, cannot be read"):
        publish(Params())
    shutil.copytree(here / "elsewhere", here / "mlartifacts", dirs_exist_ok=True)
    assert publish(Params()).champion == "2"

"""Promotion: a version leads when its gates hold, its code is committed and it wins its match; a rollback lasts."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from publications import MLFLOWS_OWN, NAME, aliases, client, enter, win

from components.params.register import Params
from components.publishing import key
from components.register import publish, rollback, summary
from components.runtime.errors import UserError

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


def test_a_champion_that_cannot_be_read_decides_nothing(here: Path) -> None:
    publish(Params())
    (here / "mlartifacts").rename(here / "elsewhere")
    win(20)
    with pytest.raises(UserError, match=r"the files of version 1, the champion, cannot be read"):
        publish(Params())
    shutil.copytree(here / "elsewhere", here / "mlartifacts", dirs_exist_ok=True)
    assert publish(Params()).champion == "2"

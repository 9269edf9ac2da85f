"""What alarms set off: one retraining each, and never two within the cool-down. Standard library only.

An alarm is answered by the first retraining that begins while it stands; it is forgotten when its check is calm again,
and a new version has alarms of its own. A key is written down before a retraining is asked for, so that an interruption
in between asks again with the same key, which whoever begins retrainings takes for the same one.
"""

import fcntl
import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Protocol

from components.runtime.errors import UserError
from components.runtime.outputs import complete_file, write_json


class Retrain(Protocol):
    """Begins a training with refreshed data; equal keys begin one."""

    def __call__(self, key: str) -> str:
        """Begin it; returns what began, for the log."""


@dataclass(frozen=True)
class Answers:
    """What is remembered between two looks."""

    answered: tuple[str, ...] = ()
    """Standing alarms that a retraining was begun for, as NAME/VERSION/CHECK."""
    last: str | None = None
    """When the last one began, ISO 8601 with the zone."""
    pending: str | None = None
    """Key of one that was asked for and is not known to have begun."""


@dataclass(frozen=True)
class Answer:
    """What was done about the alarms of one look."""

    kind: Literal["calm", "answered", "cooling", "began"]
    text: str


def answer(
    alarms: Sequence[str], model: str, now: datetime, cool_down: timedelta, retrain: Retrain, path: Path
) -> Answer:
    """Begin a retraining where there is a new alarm and the last one is long enough ago.

    Args:
        alarms: checks that raise an alarm.
        model: NAME/VERSION that they are about.
        now: with its zone.
        cool_down: shortest time between two retrainings.
        retrain: begins one; what it raises leaves the alarms to be answered by the next look.
        path: of the answers so far.

    Raises:
        UserError: the file of the answers is damaged.
    """
    with _locked(path):
        return _answer(alarms, model, now, cool_down, retrain, path)


def _answer(
    alarms: Sequence[str], model: str, now: datetime, cool_down: timedelta, retrain: Retrain, path: Path
) -> Answer:
    before = _load(path)
    standing = [f"{model}/{check}" for check in alarms]
    kept = replace(before, answered=tuple(alarm for alarm in standing if alarm in before.answered))
    if not standing or len(kept.answered) == len(standing):
        _save(path, kept)
        told = "no alarm" if not standing else f"answered before, on {before.last}: {', '.join(alarms)}"
        return Answer("answered" if standing else "calm", told)
    if before.last and now < (until := datetime.fromisoformat(before.last) + cool_down):
        _save(path, kept)
        return Answer("cooling", f"{', '.join(alarms)}: waits until {until:%Y-%m-%d %H:%M} UTC, after the cool-down")
    asked = replace(kept, pending=before.pending or uuid.uuid4().hex)
    _save(path, asked)
    began = retrain(str(asked.pending))
    _save(path, Answers(tuple(standing), now.isoformat(timespec="seconds")))
    return Answer("began", f"{', '.join(alarms)}: {began}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One answer at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _load(path: Path) -> Answers:
    try:
        raw: dict[str, Any] = json.loads(path.read_text())
        return Answers(**{**raw, "answered": tuple(raw["answered"])})
    except FileNotFoundError:
        return Answers()
    except (ValueError, TypeError, KeyError):
        raise UserError(str(path), "is damaged", "delete it: standing alarms are answered once more") from None


def _save(path: Path, answers: Answers) -> None:
    with complete_file(path) as temporary:
        write_json(temporary, asdict(answers))

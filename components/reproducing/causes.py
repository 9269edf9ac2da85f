"""Why a version cannot come out the same: all that decides its bytes, as it was and as it is here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.checkout.packages import differences, locked
from components.publishing.dvc_lock import dvc_md5, look_up
from components.publishing.key import LOCK
from components.publishing.machine import describe_machine
from components.publishing.runs import REQUIREMENTS, SPEED
from components.reproducing.digests import File
from components.reproducing.rebuilding import Rebuild
from components.reproducing.registered import Registered, meet, paths
from components.runtime.outputs import read_json, sha256

_MOST = 5
"""Names in one line."""


@dataclass(frozen=True)
class Cause:
    """One thing that decides the bytes."""

    code: str
    verdict: Literal["same", "differs", "unknown"]
    text: str


def find_causes(registered: Registered, rebuilt: Rebuild, files: Sequence[File]) -> list[Cause]:
    """A verdict about each."""
    found = [
        _record(registered),
        _data(registered, rebuilt, files),
        _code(registered, rebuilt.tree),
        _params(registered),
        _libraries(registered),
        _hardware(registered, rebuilt.tree),
    ]
    return found + ([Cause("stages", "differs", rebuilt.failure)] if rebuilt.failure else [])


def _record(registered: Registered) -> Cause:
    if not registered.lock_digest:
        return Cause("record", "unknown", "the version was registered without the digest of its dvc.lock")
    if sha256(registered.files / LOCK) != registered.lock_digest:
        return Cause("record", "differs", "the version's dvc.lock is not the file that it was registered with")
    return Cause("record", "same", "the version's dvc.lock is the file that it was registered with")


def _data(registered: Registered, rebuilt: Rebuild, files: Sequence[File]) -> Cause:
    roots = {name for name, stage in registered.needed().items() if not stage.get("deps")}
    data = [file for file in files if file.stage in roots]
    other = [file.path for file in data if not file.is_equal]
    if not other:
        kept, anew = "what the first stages brought in then", "brought from its source anew, and the same as then"
        return Cause("data", "same", kept if roots <= rebuilt.given else anew)
    if any(file.rebuilt is None for file in data):
        gone = f"{_some(other)} is gone: in no cache and no remote, and its source does not have it any more"
        return Cause("data", "differs", gone)
    return Cause(
        "data", "differs", f"the source has changed, and neither cache nor remote has what it was: {_some(other)}"
    )


def _code(registered: Registered, tree: Path) -> Cause:
    stages = list(registered.needed().values())
    made = [path for stage in stages for path in paths(stage, "outs")]
    named = {
        entry["path"]: entry["md5"]
        for stage in stages
        for entry in stage.get("deps", ())
        if entry["path"] != str(REQUIREMENTS) and not any(meet(entry["path"], path) for path in made)
    }
    other = sorted(path for path, md5 in named.items() if dvc_md5(tree / path) != md5)
    commit = f"commit {registered.commit[:12]}"
    if other:
        dirty = ", it was registered from uncommitted code" if registered.dirty else ""
        return Cause(
            "code", "differs", f"{commit} has other files than the version was made with{dirty}: {_some(other)}"
        )
    if registered.dirty:
        text = f"registered from uncommitted code, although {commit} has the {len(named)} files that its stages name"
        return Cause("code", "unknown", text)
    return Cause("code", "same", f"{commit} has the {len(named)} files and folders that its stages name")


def _params(registered: Registered) -> Cause:
    params = registered.params
    noted = [entry for stage in registered.needed().values() for entry in stage.get("params", {}).values()]
    other = sorted({key for entry in noted for key, value in entry.items() if look_up(params, key) != value})
    if other:
        return Cause(
            "params", "differs", f"the version's params.yaml has other values than its dvc.lock: {_some(other)}"
        )
    return Cause("params", "same", "the version's params.yaml has the values of its dvc.lock")


def _libraries(registered: Registered) -> Cause:
    lock = registered.files / REQUIREMENTS
    if other := differences(lock):
        fix = "installing them is left to you: a virtual environment with the version's requirements.lock"
        return Cause("libraries", "differs", f"{_some(map(str, other))} ({fix})")
    return Cause("libraries", "same", f"as locked ({len(locked(lock))} packages)")


def _hardware(registered: Registered, tree: Path) -> Cause:
    """What trained it is what registered it, where the training was timed there; else it came from DVC's cache."""
    here = describe_machine() | _device(tree, registered.variant)
    other = [
        f"{name.replace('_', ' ')}: {_words(was, here[name])}"
        for name, was in registered.machine.items()
        if name in here and here[name] != was
    ]
    if other:
        return Cause("hardware", "differs", "; ".join(other))
    if missing := {"cpu", "device"} - registered.machine.keys():
        text = f"the version's run does not name the {' and the '.join(sorted(missing))} that trained it"
        return Cause("hardware", "unknown", text)
    return Cause("hardware", "same", ", ".join(registered.machine[name] for name in ("machine", "cpu", "device")))


def _device(tree: Path, variant: str) -> dict[str, str]:
    note = tree / SPEED / f"{variant}.json"
    return {"device": read_json(note, f"train@{variant}")["device"]} if note.is_file() else {}


def _words(was: str, now: str) -> str:
    """Both, or of two long lists of words what only one has."""
    before, after = set(was.split()), set(now.split())
    if len(before & after) < _MOST:
        return f"{was} then, {now} now"
    then, here = (" ".join(sorted(words)) or "nothing more" for words in (before - after, after - before))
    return f"{then} then, {here} now"


def _some(names: Iterable[str]) -> str:
    names = list(names)
    rest = len(names) - _MOST
    return ", ".join(names[:_MOST]) + (f" and {rest} more" if rest > 0 else "")

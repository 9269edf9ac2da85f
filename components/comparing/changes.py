"""What another commit's results and params were, and what of them has changed since: DVC reads both."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.runtime.errors import UserError
from components.runtime.outputs import ARTIFACTS

if TYPE_CHECKING:
    from dvc.repo import Repo

_BOARD = (ARTIFACTS / "compare" / "leaderboard.json").as_posix()
_ENDS = ("_low", "_high")


@dataclass(frozen=True)
class Change:
    """One value then and now; None where there is none."""

    of: str
    """A variant or baseline, or "" for params."""
    name: str
    before: Any
    after: Any
    overlap: bool | None = None
    """Whether the two 95 % intervals overlap; None for a value without any."""

    @property
    def relative(self) -> float | None:
        """The change as a share of what it was; None where that says nothing."""
        if not (_is_number(self.before) and _is_number(self.after) and self.before):
            return None
        return (self.after - self.before) / abs(self.before)


@dataclass(frozen=True)
class Changes:
    """Everything that differs; a variant or baseline that came or went is named and has no metrics here."""

    revision: str
    winner: Change
    eligible: Change
    added: list[str]
    removed: list[str]
    params: list[Change]
    metrics: list[Change]


def changes_since(revision: str) -> Changes:
    """Compare the working tree with a commit, branch or tag.

    Raises:
        UserError: there is no such revision, or one of the two has no results.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import RevError, resolve_rev

    try:
        with Repo(".") as repo:
            commit = resolve_rev(repo.scm, revision)
            params = repo.params.diff(a_rev=commit).get("diff", {})
            before, after = _results(repo, commit)
    except RevError:
        fix = "`git log --oneline` lists commits"
        raise UserError("--diff", f"'{revision}' is no commit, branch or tag of this checkout", fix) from None
    except DvcException as error:
        raise UserError("--diff", " ".join(str(error).split()), "`dvc metrics diff` may say more") from None
    return _changes(revision, before, after, params)


def _results(repo: "Repo", commit: str) -> list[Mapping[str, Any]]:
    """Metrics files by path, of the commit and of the working tree."""
    shown = repo.metrics.show(revs=[commit], hide_workspace=False)
    found = []
    for where, fix in ((commit, "name a commit with results"), ("workspace", "run `dvc repro` first")):
        files = shown.get(where, {}).get("data", {})
        files = {path: of["data"] for path, of in files.items() if "data" in of}
        if _BOARD not in files:
            place = "the working tree" if where == "workspace" else f"commit {commit[:12]}"
            raise UserError("--diff", f"{place} has no {_BOARD}", fix)
        found.append(files)
    return found


def _changes(
    revision: str, before: Mapping[str, Any], after: Mapping[str, Any], params: Mapping[str, Mapping[str, Any]]
) -> Changes:
    boards = [files[_BOARD] for files in (before, after)]
    then, now = (_by_variant(files) for files in (before, after))
    both = [variant for variant in now if variant in then]
    return Changes(
        revision=revision,
        winner=Change("", "winner", *(board["winner"] for board in boards)),
        eligible=Change("", "eligible", *(board["eligible"] for board in boards)),
        added=sorted(set(now) - set(then)),
        removed=sorted(set(then) - set(now)),
        params=[
            Change("", name, value.get("old"), value.get("new"))
            for of in params.values()
            for name, value in sorted(of.items())
        ],
        metrics=[change for variant in both for change in _metric_changes(variant, then[variant], now[variant])],
    )


def _by_variant(files: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The metrics.json of each variant and baseline that the leaderboard knows, and a variant's place there."""
    # a commit from before there were baselines has none
    rows = {**files[_BOARD]["rows"], **files[_BOARD].get("baselines", {})}
    found = {Path(path).parent.name: metrics for path, metrics in files.items() if path != _BOARD}
    # the place is the leaderboard's to give, all else stands in the variant's own file
    places = {name: {"rank": row["rank"]} if "rank" in row else {} for name, row in rows.items()}
    return {name: {**places[name], **metrics} for name, metrics in found.items() if name in rows}


def _metric_changes(variant: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """Metrics that differ; ends of intervals are told by their overlap."""
    for name in dict.fromkeys((*after, *before)):
        if before.get(name) != after.get(name) and not name.endswith(_ENDS):
            yield Change(variant, name, before.get(name), after.get(name), _overlap(name, before, after))


def _overlap(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool | None:
    ends = [of.get(_stem(name) + end) for of in (before, after) for end in _ENDS]
    if any(end is None for end in ends):
        return None
    low, high, new_low, new_high = ends
    return low <= new_high and new_low <= high


def _stem(name: str) -> str:
    # the one estimate whose ends go by another name
    return name.removesuffix("_rate") if name == "false_alarm_rate" else name


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

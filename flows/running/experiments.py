"""The points of a sweep as DVC experiments: planned and checked, stashed all at once, read back from DVC.

`dvc exp run --temp` does two things: it keeps the workspace with a changed params.yaml in a git stash, and runs what
the stash holds in a temporary directory. Here they are done apart. All points are stashed first, so that they are of
one state of the workspace, whatever its owner edits while they run. Each has a stash of its own, because DVC's is
common to all its runs, and a run that ends goes on with whatever it finds there.
"""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from components.params import PARAMS_FILE, read_params, unknown
from components.publishing.key import CODE
from components.runtime.errors import UserError
from flows.running.graph import is_param
from flows.running.validation import check_params

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage

FIT = "artifacts/train/{}/fit.json"
"""What a variant achieves on train and validation: a metric of DVC's, and all that a sweep sees."""
NEEDED = (*CODE, "dvc.lock", str(PARAMS_FILE), "requirements.lock")
"""Files and folders of the commit that decide what a point becomes."""
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_OVER = re.compile(r"([\w.-]+)=(.+)")
_UNFIT = re.compile(r"[^\w.+-]+", re.ASCII)  # for a git reference, which is what DVC makes of a name


@dataclass(frozen=True)
class Point:
    """One value of the key that is swept."""

    name: str
    """Of the experiment."""
    value: str
    override: str
    """What `dvc exp run -S` takes: Hydra's grammar."""

    @property
    def stash(self) -> str:
        """The git reference that holds the experiment until it runs."""
        return f"refs/hourglass/sweep/{self.name}"


@dataclass(frozen=True)
class Sweep:
    """One key of params.yaml, its values, and the variant that is trained with each."""

    name: str
    variant: str
    key: str
    """As params.yaml has it: `variants.vanilla.latent_dim`."""
    points: tuple[Point, ...]

    @property
    def target(self) -> str:
        """The last stage that a point runs; none of those behind it, which see more than train and validation."""
        return f"train@{self.variant}"


def plan_sweep(name: str, variant: str, over: str) -> Sweep:
    """Read `over`, which is `KEY=VALUES` in Hydra's grammar; a KEY without a dot is the variant's, or of the top level.

    Raises:
        UserError: a name, the variant, the key or a value is wrong; params.yaml is checked with each value.
    """
    if not _NAME.fullmatch(name):
        rule = "a name is lower-case letters, digits, '-' and '_', a letter first"
        raise UserError(f"sweep '{name}'", rule, "rename it")
    raw = read_params()
    if variant not in raw["variants"]:
        raise unknown("variants", "variant", variant, raw["variants"])
    if not (parts := _OVER.fullmatch(over)):
        raise UserError(f"--over '{over}'", "must be a key and its values", "write e.g. --over latent_dim=8,16,32")
    key = parts[1] if "." in parts[1] or parts[1] in raw else f"variants.{variant}.{parts[1]}"
    overrides = _one_by_one(f"++{key}={parts[2]}")  # ++: whether params.yaml has the key or leaves it to its default
    values = [override.partition("=")[2].strip("'\"") for override in overrides]
    names = [f"{name}-{_UNFIT.sub('-', value).strip('-.')}" for value in values]
    if twice := [at for at in names if names.count(at) > 1]:
        raise UserError(f"--over '{over}'", f"'{twice[0]}' would name two experiments", "name each value once")
    sweep = Sweep(name, variant, key, tuple(map(Point, names, values, overrides)))
    _check_values(sweep.points)
    return sweep


def _one_by_one(override: str) -> list[str]:
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import get_hydra_sweeps
    from hydra.errors import HydraException

    try:
        return [found for (found,) in (chosen[""] for chosen in get_hydra_sweeps({"": [override]}))]
    except (DvcException, HydraException) as error:
        what = f"cannot be read: {str(error).splitlines()[0]}"
        raise UserError(f"--over '{override.removeprefix('++')}'", what, "separate values by commas") from None


def _check_values(points: Sequence[Point]) -> None:
    from dvc.utils.hydra import apply_overrides

    with TemporaryDirectory() as folder:
        files = [Path(folder, f"{point.name}.yaml") for point in points]
        for file, point in zip(files, points, strict=True):
            shutil.copyfile(PARAMS_FILE, file)
            apply_overrides(file, [point.override])
        check_params(files)


def check_checkout(repo: "Repo", sweep: Sweep) -> bool:
    """Whether the commit that is checked out can be swept; returns whether points need a GPU where there is one.

    Raises:
        UserError: something is not committed, what every point needs is stale, or the key changes nothing.
    """
    staged, unstaged, untracked = repo.scm.status()
    changed = sorted({*unstaged, *untracked, *(path for paths in staged.values() for path in paths)})
    if lost := [path for path in changed if Path(path).parts[0] in NEEDED]:
        what = f"{', '.join(lost[:3])}{' and more' * (len(lost) > 3)} not committed"
        raise UserError("checkout", what, "commit first: the points are experiments on a commit")
    target, *upstream = _with_upstream(repo, sweep.target)
    if stale := [stage.addressing for stage in upstream if stage.status()]:
        fix = f"run `dvc repro {' '.join(stale)}` and commit dvc.lock"
        raise UserError(", ".join(stale), "stale, and every point would run it", fix)
    read = {key for stage in (target, *upstream) for dep in stage.deps if is_param(dep) for key in dep.params}
    if not any(f"{sweep.key}.".startswith(f"{key}.") for key in read):
        what = f"nothing up to {sweep.target} reads it, and a sweep sees no further"
        raise UserError(sweep.key, what, f"sweep one of {', '.join(sorted(read))}")
    return bool((target.meta or {}).get("gpu"))


def _with_upstream(repo: "Repo", name: str) -> list["Stage"]:
    from networkx import descendants  # DVC's edges point from a stage to what it needs

    graph = repo.index.graph
    (target,) = (stage for stage in graph if stage.addressing == name)
    needed = descendants(graph, target)
    return [target, *(stage for stage in repo.index.stages if stage in needed)]


def stash(repo: "Repo", sweep: Sweep) -> None:
    """Stash every point; an experiment of its name, or what a sweep that was broken off has left, goes away."""
    from dvc.repo.experiments.queue.tempdir import TempDirQueue

    for point in sweep.points:
        if repo.scm.get_ref(_experiment(repo, point)):
            repo.scm.remove_ref(_experiment(repo, point))
        queue = TempDirQueue(repo, point.stash)
        queue.stash.clear()
        params = {str(PARAMS_FILE): [point.override]}
        repo.experiments.queue_one(queue, targets=[sweep.target], params=params, name=point.name)


def results(repo: "Repo", sweep: Sweep) -> dict[str, dict[str, float]]:
    """The points that came to their end, with fit.json as `dvc exp show` has it."""
    file = FIT.format(sweep.variant)
    found = {}
    for point in sweep.points:
        if revision := repo.scm.get_ref(_experiment(repo, point)):
            # DVC reads the workspace besides, which need not have trained the variant: its error is no error here
            read = repo.metrics.show(targets=[file], revs=[revision], on_error="return")[revision]["data"][file]
            if error := read.get("error"):
                raise error
            found[point.name] = read["data"]
    return found


def _experiment(repo: "Repo", point: Point) -> str:
    from dvc.repo.experiments.refs import ExpRefInfo

    return str(ExpRefInfo(repo.scm.get_rev(), point.name))

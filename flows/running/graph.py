"""What must run, and after what: read from DVC, the only one who knows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.runtime.errors import UserError
from flows.running.careful import forget_torn_locks

if TYPE_CHECKING:
    from dvc.dependency import Dependency
    from dvc.repo import Repo
    from dvc.stage import Stage


@dataclass(frozen=True)
class Needs:
    """What a stage takes of a machine, from its `meta` in dvc.yaml, beside params.yaml's `threads`."""

    gpu: bool = False
    memory_gib: float = 1.0

    @classmethod
    def of(cls, stage: "Stage") -> "Needs":
        """What a stage declares; `meta` may hold other people's keys too."""
        meta = stage.meta or {}
        return cls(bool(meta.get("gpu", cls.gpu)), float(meta.get("memory_gib", cls.memory_gib)))


@dataclass(frozen=True)
class Plan:
    """The stages that are stale or downstream of one, in the order of dvc.yaml."""

    upstream: dict[str, tuple[str, ...]]
    """Each stage to visit, then those that must be done before it."""
    stale: dict[str, str]
    """Each stage that is stale by itself, then the reason; the others are visited because of these."""
    forced: frozenset[str]
    """Stages to run even if nothing about them changed."""
    digests: dict[str, dict[str, str | None]]
    """Each stage, then the paths of its outputs with their digests in dvc.lock."""
    needs: dict[str, Needs]
    """Of each stage."""
    roots: frozenset[str]
    """Stages that depend on nothing but params: they take their data from outside, where DVC cannot see a change."""
    inputs: dict[str, tuple[str, ...]]
    """Each stage, then those whose outputs it reads, up to date or not."""
    uncached: dict[str, tuple[str, ...]]
    """Each stage, then the paths of its outputs that DVC does not cache."""
    total: int
    """Stages of the whole graph."""

    def in_words(self) -> str:
        """What the operator reads first."""
        if not self.upstream:
            return f"all {self.total} stages are up to date"
        reasons = [f"{name} (forced)" for name in self.upstream if name in self.forced]
        reasons += [f"{name} ({why})" for name, why in self.stale.items()]
        return f"{len(self.upstream)} of {self.total} stages to visit, because of {_some(reasons, 10)}"

    def downstream(self, stages: set[str]) -> list[str]:
        """The stages to visit that need any of `stages`, directly or not."""
        reached = set(stages)
        for name in TopologicalSorter(self.upstream).static_order():
            if reached.intersection(self.upstream[name]):
                reached.add(name)
        return [name for name in self.upstream if name in reached - stages]


@contextmanager
def open_repo() -> Iterator["Repo"]:
    """The DVC repository of this checkout, its lock held.

    Raises:
        UserError: there is none, DVC cannot read dvc.yaml or dvc.lock, or another DVC process is at work.
    """
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.lock import LockError
    from dvc.repo import Repo, lock_repo
    from dvc.scm import NoSCM, SCMError

    try:
        with Repo(".", _wait_for_lock=True) as repo:
            forget_torn_locks(repo)
            with lock_repo(repo):
                if isinstance(repo.scm, NoSCM):
                    raise UserError("checkout", "is not a git checkout", "clone the project with git")
                if not Path(repo.root_dir).samefile("."):
                    raise UserError("checkout", f"its root is {repo.root_dir}", "run there")
                yield repo
    except NotDvcRepoError:
        raise UserError("checkout", "is not a DVC project", "run in the root of the checkout, or `dvc init`") from None
    except SCMError:
        raise UserError("checkout", "is not a git checkout", "clone the project with git") from None
    except LockError:
        raise UserError(".dvc", "another DVC process is at work here", "let it end and run again") from None
    except DvcException as error:
        what = in_one_line(error)
        if "dvc.lock" in what:  # somebody killed `dvc` while it wrote, or merged two commits without DVC's merge driver
            fix = "restore it from git, or delete it: DVC's cache knows what is done"
            raise UserError("dvc.lock", what, fix) from None
        raise UserError("dvc.yaml", what, "mend it, `dvc status` says more") from None


def read_plan(repo: "Repo", refresh: bool) -> Plan:
    """Ask DVC once which stages are stale; `refresh` forces those that fetch from outside."""
    stages = list(repo.index.stages)
    graph = repo.index.graph
    upstream = {stage.addressing: [up.addressing for up in graph.successors(stage)] for stage in stages}
    stale = {stage.addressing: reason for stage in stages if (reason := _reason(stage))}
    roots = frozenset(stage.addressing for stage in stages if stage.cmd and all(map(is_param, stage.deps)))
    forced = roots if refresh else frozenset()
    visited = {*stale, *forced}
    for name in TopologicalSorter(upstream).static_order():
        if visited.intersection(upstream[name]):
            visited.add(name)
    return Plan(
        upstream={name: tuple(up for up in upstream[name] if up in visited) for name in upstream if name in visited},
        stale=stale,
        forced=forced,
        digests={stage.addressing: {str(out): out.hash_info.value for out in stage.outs} for stage in stages},
        needs={stage.addressing: Needs.of(stage) for stage in stages},
        roots=roots,
        inputs={name: tuple(sorted(upstream[name])) for name in upstream},
        uncached={stage.addressing: tuple(str(out) for out in stage.outs if not out.use_cache) for stage in stages},
        total=len(stages),
    )


def is_param(dep: "Dependency") -> bool:
    """Whether a dependency is on numbers of params.yaml, and not on a file."""
    from dvc.dependency import ParamsDependency

    return isinstance(dep, ParamsDependency)


def _reason(stage: "Stage") -> str:
    """Why DVC would run this stage, shortly; empty when it would not."""
    status = stage.status().get(stage.addressing, [])
    if status and not any(out.hash_info for out in stage.outs):
        return "new"
    return _some([part for entry in status for part in _parts(entry)], 2)


def _parts(entry: str | dict[str, Any]) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
        return
    for changes in entry.values():
        for path, change in changes.items():
            yield f"{path} {change}" if isinstance(change, str) else f"{path} modified"


def _some(texts: Sequence[str], most: int) -> str:
    rest = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {rest} more" if rest > 0 else "")


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, then what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def in_one_line(error: BaseException) -> str:
    """DVC's message with those of its causes."""
    return " ".join(" ".join(dict.fromkeys(map(str, causes(error)))).split())

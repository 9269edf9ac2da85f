"""Files that are not what they were: flipped bytes, or cut short. Each must be noticed, and nothing built on it."""

import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.faults.result import EQUAL, Result
from tests.faults.world import FLOW, World, edit_params

Spoil = Callable[[Path, Random], object]
"""What is done to the root of a finished checkout."""
TRAIN = ("components.train", "vanilla")
DAMAGED = "the checkpoint is damaged, training starts from the beginning"
_EPOCHS = 300  # long enough to be killed behind the first checkpoint


@dataclass(frozen=True)
class Case:
    """A finished checkout that is spoiled."""

    fault: str
    where: str
    spoil: Spoil
    mend: Callable[[Path], object] = lambda root: None
    """What the line of a refusal asks for, where running again is not enough."""


def flip(path: Path, random: Random) -> None:
    """Flip a byte of a file, and leave its size and mode."""
    mode, content = path.stat().st_mode, bytearray(path.read_bytes())
    content[random.randrange(len(content))] ^= 0xFF
    path.chmod(0o600)
    path.write_bytes(content)
    path.chmod(mode)


def truncate(path: Path, random: Random) -> None:
    """Cut a file short."""
    path.chmod(0o600)
    os.truncate(path, random.randrange(1, path.stat().st_size))


def cached(root: Path, path: str) -> Path:
    """Where DVC's cache holds a sound file."""
    digest = hashlib.md5((root / path).read_bytes(), usedforsecurity=False).hexdigest()
    return root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


def only_cached(path: str) -> Spoil:
    """Flip a byte in the cache, and take the file itself away: it would have to come from there."""

    def spoil(root: Path, random: Random) -> None:
        flip(cached(root, path), random)
        (root / path).unlink()

    return spoil


def linked(path: str) -> Spoil:
    """Flip a byte of a file that is the cache's own."""

    def spoil(root: Path, random: Random) -> None:
        in_cache = cached(root, path)
        (root / path).unlink()
        os.link(in_cache, root / path)
        flip(in_cache, random)

    return spoil


def _truncated(path: str) -> Spoil:
    return lambda root, random: truncate(root / path, random)


def _torn_locks(root: Path, random: Random) -> None:
    (root / ".dvc/tmp/rwlock").write_text('{"write": {"artifacts/co')
    (root / "artifacts/compare/report.html").unlink()


def _torn_run_cache(root: Path, random: Random) -> None:
    for path in (root / ".dvc/cache/runs").glob("*/*/*"):
        truncate(path, random)
    shutil.rmtree(root / "artifacts/threshold")


def _remove_lock(root: Path) -> None:
    (root / "dvc.lock").unlink(missing_ok=True)


def _remove_store(root: Path) -> None:
    (root / "mlflow.db").unlink()


CASES = (
    Case("flipped byte in DVC's cache", "train.npy", only_cached("artifacts/prepare/train.npy")),
    Case("flipped byte in DVC's cache", "weights", only_cached("artifacts/train/vanilla/model.safetensors")),
    Case("flipped byte in DVC's cache", "scorer", only_cached("artifacts/export/pca/scorer.onnx")),
    Case("flipped byte, linked with the cache", "train.npy", linked("artifacts/prepare/train.npy")),
    Case("flipped byte, linked with the cache", "scorer", linked("artifacts/export/vanilla/scorer.onnx")),
    Case("artifact cut short", "metrics.json", _truncated("artifacts/evaluate/vanilla/metrics.json")),
    Case("artifact cut short", "scorer", _truncated("artifacts/export/vanilla/scorer.onnx")),
    Case("artifact cut short", "manifest.json", _truncated("artifacts/prepare/manifest.json")),
    *[Case("dvc.lock cut short", "dvc.lock", _truncated("dvc.lock"), _remove_lock)] * 3,
    Case("dvc.lock empty", "dvc.lock", lambda root, _: (root / "dvc.lock").write_text(""), _remove_lock),
    Case("DVC's list of locks cut short", "rwlock", _torn_locks),
    Case("DVC's run cache cut short", "runs", _torn_run_cache),
    Case("MLflow's records overwritten", "mlflow.db", lambda root, _: (root / "mlflow.db").write_bytes(b"?" * 8192),
         _remove_store),
)  # fmt: skip


def provoke(world: World, random: Random) -> Iterator[Result]:
    """Each case on a finished checkout of its own."""
    for case in CASES:
        yield spoiled(world, case, random)
    yield spoiled_checkpoint(world, random)


def spoiled(world: World, case: Case, random: Random) -> Result:
    """Spoil a checkout, run it, do what a refusal asks for, and run it again."""
    checkout = world.unpublished("corrupted")
    case.spoil(checkout.path, random)
    ending = checkout.run(*FLOW)
    again = ending
    if ending.code:
        case.mend(checkout.path)
        again = checkout.run(*FLOW)
    came_to = f"NOT: {again.in_words()}" if again.code else checkout.state().compare(world.undisturbed)
    if came_to == EQUAL:
        world.drop(checkout)
    return Result(case.fault, case.where, ending.in_words(), came_to)


def spoiled_checkpoint(world: World, random: Random) -> Result:
    """Kill a training behind its first checkpoint, flip a byte of that, and train again."""
    checkout = world.unpublished("checkpoint")
    edit_params(checkout.path, train={"epochs": _EPOCHS})
    for command in (("components.resolve",), TRAIN):
        checkout.run(*command)
    undisturbed = checkout.digests()
    shutil.rmtree(checkout.path / "artifacts/train/vanilla")
    training = checkout.start(*TRAIN)
    while training.poll() is None and not (found := [*(checkout.path / ".work/train").rglob("checkpoint")]):
        time.sleep(0.005)
    training.send_signal(signal.SIGKILL)
    training.wait()
    flip(found[0], random)
    ending = checkout.run(*TRAIN)
    told = "told, " if DAMAGED in ending.said else "NOT TOLD, "
    came_to = EQUAL if checkout.digests() == undisturbed else "differs"
    return Result("flipped byte in a checkpoint", "train", told + ending.in_words(), came_to)

"""Where answers lie, and beside each, while it is made, the folder that keeps what is done and the lock of its run."""

import hashlib
from pathlib import Path

from components.runtime.outputs import WORK

SCORES = Path("scores")
_SUFFIX = ".scoring"


def lock_of(out: Path) -> Path:
    """Held by the run that writes the answer `out`."""
    return WORK / f"score-{hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:16]}.lock"


def workplace_of(out: Path) -> Path:
    """Beside the answer: `.NAME.scoring`."""
    return out.parent / f".{out.name}{_SUFFIX}"


def answer_of(workplace: Path) -> Path:
    """The answer that a workplace belongs to."""
    return workplace.with_name(workplace.name.removesuffix(_SUFFIX).removeprefix("."))


def workplaces(scores: Path) -> list[Path]:
    """Those beside the answers in `scores`."""
    return sorted(path for path in scores.glob(f".*{_SUFFIX}") if path.is_dir())

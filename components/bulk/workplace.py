"""Where answers lie, and beside each, while it is made, the folder that keeps what is done and the lock of its run."""

import hashlib
from pathlib import Path

from components.runtime.outputs import WORK

ANSWERS = tuple(map(Path, ("scores", "codes", "neighbours")))
"""A folder for each kind of answer."""
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


def workplaces() -> list[Path]:
    """Those beside the answers that lie where they do by default."""
    return [path for folder in ANSWERS for path in sorted(folder.glob(f".*{_SUFFIX}")) if path.is_dir()]

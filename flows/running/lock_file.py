"""dvc.lock as blocks of text, one a stage: entering one stage costs nothing, however many others there are.

DVC parses and prints the whole file for every stage that ends: 4 s of CPU with 1,000 short entries. What is written
here is what DVC would have written. A file in another form, by a person's hand, is brought into DVC's.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.runtime.outputs import complete_file

if TYPE_CHECKING:
    from dvc.dvcfile import Lockfile
    from dvc.stage import PipelineStage

LOCK_FILE = Path("dvc.lock")
_HEAD = "schema: '2.0'\nstages:\n"
_EMPTY = "schema: '2.0'\nstages: {}\n"
_BLOCK = re.compile(r"^  (?P<quote>['\"]?)(?P<name>[^\s'\"#:][^\s'\"]*)(?P=quote):\n(?:(?:    .*| *)\n)+", re.MULTILINE)


def read_entries(path: Path) -> dict[str, Any]:
    """Each stage's entry.

    Raises:
        dvc.exceptions.DvcException: it is not YAML.
    """
    from dvc.utils.serialize import load_yaml

    return load_yaml(str(path)).get("stages", {}) if path.exists() else {}


def read_blocks(path: Path) -> dict[str, str]:
    """Each stage's text, in the order of the file.

    Raises:
        dvc.exceptions.DvcException: it is not YAML.
    """
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    blocks = {found["name"]: found[0] for found in _BLOCK.finditer(text)}
    if _HEAD + "".join(blocks.values()) == text:
        return blocks
    return {name: as_block(name, entry) for name, entry in read_entries(path).items()}


def write_blocks(path: Path, blocks: Iterable[str]) -> None:
    """The whole file, or none of it."""
    text = "".join(blocks)
    with complete_file(path) as temporary:
        temporary.write_text(_HEAD + text if text else _EMPTY, encoding="utf-8")


def as_block(name: str, entry: Mapping[str, Any]) -> str:
    """An entry as DVC prints it: printed inside the whole, because where lines break depends on the depth."""
    from dvc.utils.serialize import dumps_yaml

    return dumps_yaml({"schema": "2.0", "stages": {name: entry}}).removeprefix(_HEAD)


def enter(path: Path, entries: Mapping[str, Any]) -> None:
    """Enter the entries of some stages; the caller holds DVC's lock."""
    blocks = read_blocks(path) | {name: as_block(name, entry) for name, entry in entries.items()}
    write_blocks(path, blocks.values())


def dump_stages(file: "Lockfile", stages: "list[PipelineStage]", **options: Any) -> None:
    """In place of DVC's method of this name."""
    from dvc.stage.serialize import to_lockfile

    entries = {name: entry for stage in stages for name, entry in to_lockfile(stage, **options).items()}
    if entries:
        enter(Path(file.path), entries)
        file.repo.scm_context.track_file(file.relpath)

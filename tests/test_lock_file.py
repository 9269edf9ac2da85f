"""Entering stages in dvc.lock by blocks of text. Reference: what DVC itself writes, byte for byte."""

import contextlib
import string
from pathlib import Path
from tempfile import TemporaryDirectory

from conftest import must
from dvc.utils.serialize import dumps_yaml, load_yaml
from hypothesis import given
from hypothesis import strategies as st
from toy_project import ToyProject

from flows.running.children import Children
from flows.running.lock_file import enter, read_blocks, write_blocks
from flows.running.stage import run_stage

NAMES = st.text(string.ascii_letters + string.digits + "_-@.", min_size=1, max_size=12)
TEXTS = st.text(string.ascii_letters + string.digits + " '\"{}[]:#,&*!|>%@`-?\\/é\n\t", max_size=120)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
ENTRIES = st.fixed_dictionaries(
    {"cmd": TEXTS, "params": st.dictionaries(TEXTS, VALUES | st.lists(VALUES) | st.dictionaries(TEXTS, VALUES))}
)


@given(st.dictionaries(NAMES, ENTRIES, max_size=4), NAMES, ENTRIES)
def test_entering_a_stage_writes_what_dvc_would(entries: dict, name: str, entry: dict) -> None:
    with TemporaryDirectory() as folder:
        lock = Path(folder, "dvc.lock")
        lock.write_text(dumps_yaml({"schema": "2.0", "stages": entries}))
        enter(lock, {name: entry})
        assert lock.read_text() == dumps_yaml({"schema": "2.0", "stages": {**entries, name: entry}})


def test_blocks_are_the_entries_in_order_whatever_form_the_file_has(tmp_path: Path) -> None:
    toy = ToyProject(tmp_path)
    must("dvc", "repro", "-q", cwd=toy.path)
    lock = tmp_path / "dvc.lock"
    text, entries = lock.read_text(), load_yaml(str(lock))["stages"]
    blocks = read_blocks(lock)
    assert list(blocks) == list(entries)
    write_blocks(lock, blocks.values())
    assert lock.read_text() == text
    lock.write_text("# by hand\n" + text.replace("'2.0'", '"2.0"'))
    assert read_blocks(lock) == blocks


def test_what_a_stage_enters_is_what_dvc_enters(tmp_path: Path) -> None:
    ours, theirs = ToyProject(tmp_path / "ours"), ToyProject(tmp_path / "theirs")
    must("dvc", "repro", "-q", cwd=theirs.path)
    with contextlib.chdir(ours.path), Children() as children:
        for name in read_blocks(theirs.path / "dvc.lock"):
            assert run_stage(children, name, {}, print).is_well
    assert ours.read("dvc.lock") == theirs.read("dvc.lock")


def test_without_stages_it_is_a_file_that_dvc_reads(tmp_path: Path) -> None:
    write_blocks(tmp_path / "dvc.lock", [])
    assert (tmp_path / "dvc.lock").read_text() == dumps_yaml({"schema": "2.0", "stages": {}})
    assert read_blocks(tmp_path / "dvc.lock") == {}

"""In Ray's worker on a node: a folder for each stage, with the flow's code in it, and a child that runs it there.

A folder of its own, because DVC locks a whole checkout and two stages may run on one node; their caches are one. It
stays, with the checkpoints in it, so that a stage that failed goes on where it stopped if it comes back to this node.
The code is what Ray brought from the flow's checkout, this worker's working directory.
"""

import contextlib
import fcntl
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

from components.runtime.errors import UserError
from flows.cluster.handover import Finished, Result, Task, check_packages
from flows.running.children import Children
from flows.running.lock_file import LOCK_FILE, as_block, write_blocks
from flows.running.stage import Outcome, ask

FOLDER = "HOURGLASS_NODE"
"""The environment variable that names a node's folder, set before `ray start`; ~/.cache/hourglass where it is not."""
_KEPT = {".work", ".lock"}
_CONFIG = "[core]\n    no_scm = true\n[cache]\n    dir = {cache}\n"


def serve(task: Task) -> Iterator[str | Finished]:
    """Run the stage; yields the lines of its log while it runs, then what came of it."""
    said: SimpleQueue[str | Finished | BaseException] = SimpleQueue()

    def act() -> None:
        try:
            said.put(_run(task, said.put))
        except BaseException as error:  # noqa: BLE001 - raised again below, where Ray sees it
            said.put(error)

    threading.Thread(target=act, daemon=True).start()
    while isinstance(item := said.get(), str):
        yield item
    if isinstance(item, BaseException):
        raise item
    yield item


def _run(task: Task, log: Callable[[str], object]) -> Finished:
    node = f"{socket.gethostname()}:{os.getpid()}"
    try:
        check_packages(task.packages, node)
    except UserError as error:
        return Finished(Outcome("user_error", f"error: {error}"), None)
    root = Path(os.environ.get(FOLDER, "~/.cache/hourglass")).expanduser().absolute()
    folder = root / task.project / task.name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock, Children() as children:
        fcntl.flock(lock, fcntl.LOCK_EX)  # an attempt that the flow has given up may still be ending here
        _lay_out(folder, root / "cache", task)
        log(f"on {node}, in {folder}")
        with contextlib.chdir(folder):
            arguments = [task.name, *(["--force"] * task.force)]
            site = {"DVC_SITE_CACHE_DIR": str(folder / ".dvc/tmp/site")}
            outcome, answer = ask(children, "flows.cluster.stage", arguments, log, site, task.timeout)
    return Finished(outcome, Result(answer["entry"], answer["files"]) if answer else None)


def _lay_out(folder: Path, cache: Path, task: Task) -> None:
    """Make the folder a copy of the flow's checkout as far as this stage sees it."""
    for old in folder.iterdir():
        if old.name not in _KEPT:
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
    shutil.copytree(Path.cwd(), folder, dirs_exist_ok=True)
    (folder / ".dvc/config.local").write_text(_CONFIG.format(cache=cache))
    write_blocks(folder / LOCK_FILE, [as_block(name, entry) for name, entry in task.entries.items()])
    for name, text in task.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

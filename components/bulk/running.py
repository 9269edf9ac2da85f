"""From inputs to parts: in this process or in several, piece by piece, and nothing that is done is done again."""

import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from components.bulk.inputs import READERS, Input, named
from components.bulk.kinds import Columns, Kind
from components.bulk.model import Model
from components.bulk.parts import Part, key_of, read_part, write_part
from components.bulk.pieces import Piece
from components.runtime.errors import UserError
from components.runtime.outputs import sha256
from components.runtime.process import die_with_parent, set_threads
from components.runtime.progress import Meter


@dataclass(frozen=True)
class Skipped:
    """A part of the input that could not be scored."""

    name: str
    reason: str
    fix: str = ""
    """What mends it."""


@dataclass(frozen=True)
class Job:
    """What all pieces have in common."""

    kind: Kind
    model: Model
    threads: int
    id_column: str | None
    folder: Path
    """For parts."""
    known: dict[str, tuple[Path, str]]
    """Parts of an earlier answer by their keys, with the SHA-256 of each file; they are not scored again."""


@dataclass(frozen=True)
class Placed:
    """A part, and where its records come from."""

    part: Part
    input: Input
    number: int
    """Of the piece in the input."""


@dataclass
class Outcome:
    """What came of all pieces so far."""

    placed: list[Placed] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    scored: int = 0
    """Records of parts that were not there before."""

    def add(self, skipped: Skipped, limit: int) -> None:
        """Leave something out, and say so.

        Raises:
            UserError: that was more than `limit`.
        """
        self.skipped.append(skipped)
        print(f"left out: {skipped.name}: {skipped.reason}", file=sys.stderr, flush=True)
        if len(self.skipped) > limit:
            others = f" (as {len(self.skipped) - 1} others before it)" if len(self.skipped) > 1 else ""
            leave = f"or let --skip-limit {len(self.skipped)} leave it out"
            raise UserError(skipped.name, f"{skipped.reason}{others}", f"{skipped.fix or 'mend or remove it'}, {leave}")


def score_all(inputs: Sequence[Input], job: Job, jobs: int, skip_limit: int, meter: Meter) -> Outcome:
    """Score every piece of every input, several at a time; the parts stand in the order of the input.

    Args:
        inputs: what is to be read.
        job: what scores it.
        jobs: processes.
        skip_limit: pictures and pieces that may be unreadable; they are listed.
        meter: is told of pieces.

    Raises:
        UserError: more than that are unreadable.
    """
    outcome, waiting = Outcome(), deque[_Waiting]()

    def settle() -> None:
        one = waiting.popleft()
        with one.inputs:  # its files may go when its last piece is done
            result = one.future.result()
        meter.advance()
        if isinstance(result, Skipped):
            outcome.add(result, skip_limit)
            return
        part, is_new = result
        outcome.placed.append(Placed(part, one.input, one.number))
        outcome.scored += part.records * is_new
        for name, reason in part.rejected.items():
            outcome.add(Skipped(name, reason), skip_limit)

    with _submitter(job, jobs) as submit, ExitStack() as leaving:
        for each in inputs:
            stack = ExitStack()
            leaving.callback(stack.close)  # in the end, whatever happens; twice does no harm
            try:
                pieces = stack.enter_context(each.here(job.model, job.folder))
            except UserError as error:
                meter.advance()
                outcome.add(Skipped(error.where, error.what, error.fix), skip_limit)
                continue
            meter.extend(len(pieces) - 1)
            for number, piece in enumerate(pieces):
                is_last = number == len(pieces) - 1
                future = submit(each.reader, piece)
                waiting.append(_Waiting(each, number, future, stack if is_last else ExitStack()))
                while len(waiting) > 2 * jobs:
                    settle()
            if not pieces:
                stack.close()
        while waiting:
            settle()
    return outcome


@dataclass(frozen=True)
class _Waiting:
    """A piece that is being scored."""

    input: Input
    number: int
    future: "Future[tuple[Part, bool] | Skipped]"
    inputs: ExitStack
    """Lets go of the files of the input, where no later piece needs them."""


class Worker:
    """Scores pieces, one at a time."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def score(self, reader_name: str, piece: Piece) -> tuple[Part, bool] | Skipped:
        """The part of a piece, and whether it had to be scored; or why it cannot be.

        Raises:
            UserError: the whole run is at fault, and not this piece.
        """
        reader, job = READERS[reader_name], self._job
        try:
            with named(piece.files):
                key = key_of(piece, reader.digest(piece), job.model, job.id_column, job.kind.decides)
                earlier, digest = job.known.get(key, (None, ""))
                if earlier and earlier.is_file() and sha256(earlier) == digest and (part := read_part(earlier, key)):
                    return part, False
                path = job.folder / f"{key}.parquet"
                if part := read_part(path, key):
                    return part, False
                return write_part(path, key, piece, reader, job.model, self._columns, job.id_column), True
        except UserError as error:
            if error.where.startswith("--"):
                raise
            name = piece.shown if error.where == piece.files[0].name else error.where
            return Skipped(name, error.what, error.fix)

    @cached_property
    def _columns(self) -> Columns:
        return self._job.kind.open(self._job.model, self._job.threads)


@contextmanager
def _submitter(job: Job, jobs: int) -> Iterator[Callable[[str, Piece], Future]]:
    """What puts pieces to work: at once in this process, or in others."""
    if jobs == 1:
        worker = Worker(job)
        yield lambda *task: _at_once(worker, *task)
        return
    # a fresh interpreter: forked, it would have the locks of this one's threads
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin, (job, os.getpid()))
    try:
        yield lambda *task: pool.submit(_score, *task)
    except BrokenProcessPool:
        fix = "run again, with fewer --jobs if memory ran out; what is scored is kept"
        raise UserError("components.score", "a process was ended from outside", fix) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _at_once(worker: Worker, reader_name: str, piece: Piece) -> Future:
    done: Future = Future()
    try:
        done.set_result(worker.score(reader_name, piece))
    except Exception as error:  # noqa: BLE001 - as a pool has it: whoever asks for the result gets it
        done.set_exception(error)
    return done


_workers: list[Worker] = []
"""Of a process of the pool: one."""


def _begin(job: Job, parent: int) -> None:
    die_with_parent(parent)
    set_threads(job.threads)
    _workers.append(Worker(job))


def _score(reader_name: str, piece: Piece) -> tuple[Part, bool] | Skipped:
    return _workers[0].score(reader_name, piece)

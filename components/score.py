"""Act `score`: judge a file, a folder or an S3 prefix of any size by a registered version, in bounded memory.

In:   records as they came, and a version in the registry (MLFLOW_TRACKING_URI, or mlflow.db in the checkout)
Out:  scores/SOURCE-NAME-NUMBER/ — part-NNNNN.parquet, manifest.json, strangest.html; a run in MLflow; the same by
      versions in shadow of the champion, where there are any, below scores/.shadow/
      with --codes codes/…/ of codes alone, with --neighbours neighbours/…/ of the nearest training records; no run
Run:  python -m components.score SOURCE [--model NAME@ALIAS] [--fdr Q] [--out FOLDER] [--jobs N] [--skip-limit N] …

No stage: what comes in after training has no place in the graph. Interrupted, the next run continues; repeated, it
finds nothing to do. While it works, parts lie beside the answer in a folder of their own, `.NAME.scoring`.
Exit code 0: all is scored. 3: all but what --skip-limit let it leave out. 2: something to mend, in one line.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.bulk.options import Request, add_options
from components.bulk.workplace import lock_of, workplace_of
from components.checkout.lock import if_free
from components.params import load_globals, load_section
from components.runtime.errors import EXIT_INCOMPLETE, UserError, run_main
from components.runtime.outputs import WORK
from components.runtime.process import die_with_parent, set_threads

if TYPE_CHECKING:
    from components.bulk.kinds import Kind
    from components.bulk.model import Model
    from components.bulk.running import Outcome
    from components.publishing.store import Store


@dataclass(frozen=True)
class Answer:
    """What came of a batch."""

    out: Path
    kind: "Kind"
    manifest: dict[str, Any]
    scored: int
    """Records that were not scored before."""
    seconds: float
    """That scoring took."""


def score(request: Request, threads: int, default: str, now: datetime | None = None) -> Answer:
    """Score a batch, tell MLflow, have versions in shadow score it too, and version the answer if asked.

    Args:
        request: what is wanted.
        threads: of one process's graph; sums depend on it.
        default: the version where the request names none.
        now: decides who is in shadow; the clock's time where it is None.

    Raises:
        UserError: the version or the input cannot be had, or more of the input than allowed is unreadable.
    """
    from components.bulk.answer import MANIFEST, PAGE
    from components.bulk.model import fetch_model
    from components.publishing.scored import publish_scored
    from components.publishing.store import open_store
    from components.shadowing.roles import in_shadow

    (WORK / "tmp").mkdir(parents=True, exist_ok=True)
    params = load_section("register")
    with tempfile.TemporaryDirectory(prefix="model-", dir=WORK / "tmp") as folder, open_store(params.name) as store:
        model = fetch_model(store, request.model or default, Path(folder))
        answer = score_with(model, request, threads)
        if answer.kind.name == "scores":
            publish_scored(store, answer.manifest, [answer.out / MANIFEST, answer.out / PAGE], model.commit)
            if model.name == store.name:
                for role in in_shadow(store, model.version, params, now or datetime.now(UTC)):
                    _score_in_shadow(store, role.version, replace(request, out=answer.out, fdr=None), threads)
    if request.dvc:
        add_to_dvc(answer.out)
    return answer


def _score_in_shadow(store: "Store", version: str, request: Request, threads: int) -> None:
    """Have another version score the same batch; a mistake is told and stops nothing."""
    from components.bulk.model import fetch_model
    from components.shadowing.answers import place

    reference = f"{store.name}/{version}"
    with tempfile.TemporaryDirectory(prefix="shadow-", dir=WORK / "tmp") as folder:
        try:
            model = fetch_model(store, reference, Path(folder))
            score_with(model, replace(request, out=place(request.out, version)), threads)
        except UserError as error:
            print(f"in shadow: {reference} did not score this batch: {error}", file=sys.stderr, flush=True)


def score_with(model: "Model", request: Request, threads: int) -> Answer:
    """Score a batch by a version that is here.

    Raises:
        UserError: as `score`.
    """
    from components.bulk import answer
    from components.bulk.inputs import clear, find_inputs
    from components.bulk.kinds import Finishing
    from components.bulk.running import Job, score_all
    from components.runtime.progress import progress

    check_rate(request, model)
    inputs = find_inputs(request.source, model)
    folder = "codes" if request.codes else "neighbours" if request.neighbours else "scores"
    out = request.out or Path(folder) / _default_name(request.source, model)
    if out.resolve().is_relative_to(Path(request.source).resolve()):
        raise UserError("--out", f"{out} lies in {request.source}, where it would be scored", "name another folder")
    earlier, began = answer.earlier(out), time.perf_counter()
    with _workplace(out) as work:
        clear(work)
        known = {part["key"]: (out / part["file"], part["sha256"]) for part in earlier.get("parts", ())}
        kind = _kind(request, model, threads, work)
        job = Job(kind, model, threads, request.id, work, known)
        with progress(len(inputs), "scoring", "scored", "parts") as meter:
            jobs = request.jobs or max(1, (os.cpu_count() or 1) // threads)
            outcome = score_all(inputs, job, jobs, request.skip_limit, meter)
        seconds = time.perf_counter() - began
        if not any(each.part.records for each in outcome.placed):
            raise UserError(request.source, "holds no record that can be scored", "add records")
        is_whole = all(each.part.path.parent == out for each in outcome.placed)
        if is_whole and _is_same(earlier, outcome, request):
            return Answer(out, kind, earlier, 0, seconds)
        final = work / "answer"
        shutil.rmtree(final, ignore_errors=True)
        final.mkdir()
        manifest = kind.finish(Finishing(model, request, threads, outcome, work, final))
        answer.move(final, out, work / "earlier")
        return Answer(out, kind, manifest, outcome.scored, seconds)


def _kind(request: Request, model: "Model", threads: int, work: Path) -> "Kind":
    """What is to be said about each record."""
    if request.neighbours:
        from components.bulk.neighbours import prepare

        return prepare(model, request.neighbours, threads, work)
    if request.codes:
        from components.bulk.codes import Codes

        return Codes()
    from components.bulk.scores import Scores

    return Scores(request.with_codes)


def _is_same(earlier: dict[str, Any], outcome: "Outcome", request: Request) -> bool:
    """Whether an earlier answer says already what this one would."""
    if not earlier:
        return False
    asked = (earlier.get("fdr") or {}).get("q")
    keys = [part["key"] for part in earlier["parts"]]
    skipped = [each["name"] for each in earlier["skipped"]]
    return (asked, keys, skipped) == (
        request.fdr,
        [each.part.key for each in outcome.placed],
        [each.name for each in outcome.skipped],
    )


def check_rate(request: Request, model: "Model") -> None:
    """Refuse a false discovery rate by which nothing could ever be reported.

    Raises:
        UserError: says the smallest rate for this version, or that nothing is decided at all.
    """
    from components.scoring.multiple import fewest_discoveries

    q = request.fdr
    if q is not None and (request.codes or request.neighbours):
        raise UserError("--fdr", "decides about scores, and none are asked for", "leave it out, or ask for scores")
    if q is not None and fewest_discoveries(1, model.n, q) > 1:
        what = f"{q:g} finds nothing with the {model.n} calibration scores of {model}, not even if all are anomalies"
        raise UserError("--fdr", what, f"ask for {1 / (model.n + 1):.2g} or more, or calibrate on more records")


@contextmanager
def _workplace(out: Path) -> Iterator[Path]:
    """The folder beside the answer that keeps what is done; for one run at a time, and gone when all went well.

    Raises:
        UserError: another run is at work on the same answer.
    """
    with if_free(lock_of(out)) as is_free:
        if not is_free:
            what = f"another run is writing {out}"
            raise UserError("--out", what, "let it end, or name another folder")
        work = workplace_of(out)
        work.mkdir(parents=True, exist_ok=True)
        yield work
        shutil.rmtree(work)


def _default_name(source: str, model: "Model") -> str:
    stem = re.sub(r"[^\w.-]+", "-", source.rstrip("/").rpartition("/")[2]).strip(".-") or "batch"
    return f"{stem}-{model.name}-{model.version}"


def add_to_dvc(out: Path) -> None:
    """Version an answer with `dvc add`.

    Raises:
        UserError: DVC refuses.
    """
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "add", "-q", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")] or ["ERROR: it failed"]
        raise UserError("--dvc", lines[0].removeprefix("ERROR: "), f"the scores are in {out}; mend that and run again")


def summary(answer: Answer) -> str:
    """What a person reads at the end."""
    manifest, kind = answer.manifest, answer.kind
    speed = f"{answer.scored / answer.seconds:,.0f} records/s" if answer.scored else "nothing new"
    lines = [
        f"scored      {manifest['records']:,} records in {len(manifest['parts'])} parts ({speed}), "
        f"by {manifest['model']['name']}/{manifest['model']['version']}",
        *(f"skipped     {each['name']}: {each['reason']}" for each in manifest["skipped"]),
        *kind.summary(manifest, answer.out),
    ]
    return "\n".join([*lines, f"{kind.name:<12}{answer.out}"])


def main() -> None:
    """Score what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m components.score", description=__doc__.partition("\n")[0])
    add_options(parser)
    request = Request(**vars(parser.parse_args()))
    die_with_parent()
    threads = load_globals().threads
    set_threads(threads)
    answer = score(request, threads, f"{load_section('register').name}@champion")
    print(summary(answer))
    if answer.manifest["skipped"]:
        raise SystemExit(EXIT_INCOMPLETE)


if __name__ == "__main__":
    run_main(main)

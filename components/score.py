"""Act `score`: judge a file, a folder or an S3 prefix of any size by a registered version, in bounded memory.

In:   records as they came, and a version in the registry (MLFLOW_TRACKING_URI, or mlflow.db in the checkout)
Out:  scores/SOURCE-NAME-NUMBER/ — part-NNNNN.parquet, manifest.json, strangest.html; a run in MLflow; the same by
      versions in shadow of the champion, where there are any, below scores/.shadow/
Run:  python -m components.score SOURCE [--model NAME@ALIAS] [--fdr Q] [--out FOLDER] [--jobs N] [--skip-limit N] …

No stage: what comes in after training has no place in the graph. Interrupted, the next run continues; repeated, it
finds nothing to do. While it works, parts lie beside the answer in a folder of their own, `.NAME.scoring`.
Exit code 0: all is scored. 3: all but what --skip-limit let it leave out. 2: something to mend, in one line.
"""

import argparse
import fcntl
import hashlib
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
from components.params import load_globals, load_section
from components.runtime.errors import EXIT_INCOMPLETE, UserError, run_main
from components.runtime.outputs import WORK
from components.runtime.process import die_with_parent, set_threads

if TYPE_CHECKING:
    from components.bulk.model import Model
    from components.bulk.running import Outcome

SCORES = Path("scores")


@dataclass(frozen=True)
class Answer:
    """What came of a batch."""

    out: Path
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
    from components.shadowing.answers import place
    from components.shadowing.roles import in_shadow

    (WORK / "tmp").mkdir(parents=True, exist_ok=True)
    params = load_section("register")
    with tempfile.TemporaryDirectory(prefix="model-", dir=WORK / "tmp") as folder, open_store(params.name) as store:
        model = fetch_model(store, request.model or default, Path(folder))
        answer = score_with(model, request, threads)
        publish_scored(store, answer.manifest, [answer.out / MANIFEST, answer.out / PAGE], model.commit)
        if model.name == store.name:
            for role in in_shadow(store, model.version, params, now or datetime.now(UTC)):
                reference, out = f"{model.name}/{role.version}", place(answer.out, role.version)
                try:
                    shadow = fetch_model(store, reference, Path(folder))
                    score_with(shadow, replace(request, out=out, fdr=None), threads)
                except UserError as error:  # nobody waits for its answer
                    print(f"in shadow: {reference} did not score this batch: {error}", file=sys.stderr, flush=True)
    if request.dvc:
        add_to_dvc(answer.out)
    return answer


def score_with(model: "Model", request: Request, threads: int) -> Answer:
    """Score a batch by a version that is here.

    Raises:
        UserError: as `score`.
    """
    from components.bulk import answer
    from components.bulk.inputs import clear, find_inputs
    from components.bulk.running import Job, score_all
    from components.runtime.progress import progress

    check_rate(request.fdr, model)
    inputs = find_inputs(request.source, model)
    out = request.out or SCORES / _default_name(request.source, model)
    if out.resolve().is_relative_to(Path(request.source).resolve()):
        raise UserError("--out", f"{out} lies in {request.source}, where it would be scored", "name another folder")
    earlier, began = answer.earlier(out), time.perf_counter()
    with _workplace(out) as work:
        clear(work)
        known = {part["key"]: (out / part["file"], part["sha256"]) for part in earlier.get("parts", ())}
        job = Job(model, threads, request.id, work, known)
        with progress(len(inputs), "scoring", "scored", "parts") as meter:
            jobs = request.jobs or max(1, (os.cpu_count() or 1) // threads)
            outcome = score_all(inputs, job, jobs, request.skip_limit, meter)
        seconds = time.perf_counter() - began
        if not any(each.part.records for each in outcome.placed):
            raise UserError(request.source, "holds no record that can be scored", "add records")
        is_whole = all(each.part.path.parent == out for each in outcome.placed)
        if is_whole and _is_same(earlier, outcome, request):
            return Answer(out, earlier, 0, seconds)
        return Answer(out, _finish(model, request, threads, outcome, work, out), outcome.scored, seconds)


def _finish(
    model: "Model", request: Request, threads: int, outcome: "Outcome", work: Path, out: Path
) -> dict[str, Any]:
    """Decide about the whole batch and put the answer in its place."""
    from components.bulk import answer, page
    from components.bulk.graph import Graph

    counts = answer.count(outcome.placed, model.n)
    last, found = answer.discover(counts, model.n, request.fdr) if request.fdr else (None, None)
    strange = answer.strangest(outcome.placed)
    html = page.render(strange, model, Graph(model, threads), request.id, counts.records, work)
    described = answer.describe(model, outcome, counts, found, strange, request.id)
    final = work / "answer"
    shutil.rmtree(final, ignore_errors=True)
    final.mkdir()
    manifest = answer.write(final, outcome, last, described, html, model.n)
    answer.move(final, out, work / "earlier")
    return manifest


def _is_same(earlier: dict[str, Any], outcome: "Outcome", request: Request) -> bool:
    """Whether an earlier answer says already what this one would."""
    if not earlier:
        return False
    asked = (earlier["fdr"] or {}).get("q")
    keys = [part["key"] for part in earlier["parts"]]
    skipped = [each["name"] for each in earlier["skipped"]]
    return (asked, keys, skipped) == (
        request.fdr,
        [each.part.key for each in outcome.placed],
        [each.name for each in outcome.skipped],
    )


def check_rate(q: float | None, model: "Model") -> None:
    """Refuse a false discovery rate by which nothing could ever be reported.

    Raises:
        UserError: says the smallest rate for this version.
    """
    from components.scoring.multiple import fewest_discoveries

    if q is not None and fewest_discoveries(1, model.n, q) > 1:
        what = f"{q:g} finds nothing with the {model.n} calibration scores of {model}, not even if all are anomalies"
        raise UserError("--fdr", what, f"ask for {1 / (model.n + 1):.2g} or more, or calibrate on more records")


@contextmanager
def _workplace(out: Path) -> Iterator[Path]:
    """The folder beside the answer that keeps what is done; for one run at a time, and gone when all went well.

    Raises:
        UserError: another run is at work on the same answer.
    """
    name = hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:16]
    WORK.mkdir(exist_ok=True)
    with (WORK / f"score-{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            what = f"another run is writing {out}"
            raise UserError("--out", what, "let it end, or name another folder") from None
        work = out.parent / f".{out.name}.scoring"
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
    manifest = answer.manifest
    records, fdr, skipped = manifest["records"], manifest["fdr"], manifest["skipped"]
    speed = f"{answer.scored / answer.seconds:,.0f} records/s" if answer.scored else "nothing new"
    lines = [
        f"scored      {records:,} records in {len(manifest['parts'])} parts ({speed}), "
        f"by {manifest['model']['name']}/{manifest['model']['version']}",
        f"alarms      {manifest['alarms']:,} ({manifest['alarms'] / records:.2%})",
    ]
    if fdr:
        lines.append(
            f"reported    {fdr['reported']:,} at a false discovery rate of {fdr['q']:g}; with "
            f"{manifest['model']['calibration_n']:,} calibration scores anomalies are found from "
            f"{fdr['smallest_share']:.2%} of a batch on ({fdr['fewest']:,} of {records:,})"
        )
    lines += [f"skipped     {each['name']}: {each['reason']}" for each in skipped]
    lines += [f"strangest   {', '.join(manifest['strangest'][:5])}: {answer.out / 'strangest.html'}"]
    return "\n".join([*lines, f"scores      {answer.out}"])


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

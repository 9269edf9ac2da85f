"""Stage `analyse`: what one variant's code is good for, beyond its error; asked for by `analyse.variants`.

In:   artifacts/train/V; of artifacts/prepare train, validation and test with their labels, and manifest.json
Out:  artifacts/analyse/V/ — analysis.json (all numbers, and why an analysis does not apply), analysis.html (one page),
      tables/*.csv, plots/*.svg
Run:  python -m components.analyse V

Each analysis is one file of `components/analyses/`. None decides anything: no other stage reads this one's results.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from components.params import load_globals, load_section
from components.runtime.errors import run_main
from components.runtime.outputs import ARTIFACTS, complete_dir, write_json
from components.runtime.process import die_with_parent, make_deterministic, set_threads, variant_argument

if TYPE_CHECKING:
    from components.analyses import AnalysisEntry, AnalysisParams
    from components.analysing.outcome import Outcome, Skipped
    from components.analysing.subject import Subject

Found = dict[str, "tuple[AnalysisEntry, Outcome | Skipped]"]
"""Each analysis with what came of it, by name."""


def analyse(subject: "Subject", wanted: "Mapping[str, AnalysisParams]") -> Found:
    """Run the wanted analyses, given by name with their params."""
    from components.analyses import NotApplicableError, find
    from components.analysing.outcome import Skipped

    found: Found = {}
    for name, params in wanted.items():
        entry = find(name)
        try:
            found[name] = (entry, entry.run(params, subject))
        except NotApplicableError as reason:
            found[name] = (entry, Skipped(str(reason)))
    return found


def write(subject: "Subject", found: Found, model: str, source: str, folder: Path) -> None:
    """Everything that was found, into a folder that exists.

    Args:
        model: name of the subject's model.
        source: of the data.
    """
    from components.analysing.outcome import Outcome
    from components.reporting.analysis_page import render

    tables, plots = folder / "tables", folder / "plots"
    tables.mkdir()
    plots.mkdir()
    report = {}
    for name, (_, outcome) in found.items():
        if isinstance(outcome, Outcome):
            outcome.write_files(tables, plots)
            report[name] = {"applies": True, **outcome.numbers}
        else:
            report[name] = {"applies": False, "reason": outcome.reason}
    write_json(folder / "analysis.json", report)
    records = {split: len(getattr(subject, split)) for split in ("train", "validation", "test")}
    (folder / "analysis.html").write_text(render(subject.name, model, source, records, found, plots), encoding="utf-8")


def main() -> None:
    """Run the stage."""
    variant = variant_argument()
    die_with_parent()
    numbers = load_globals()
    set_threads(numbers.threads)
    params = load_section("analyse")
    make_deterministic(numbers.threads)
    from components.analyses import resolve
    from components.analysing.outcome import Outcome
    from components.analysing.subject import load_subject
    from components.data.splits import load_manifest
    from components.training.weights import load_config

    trained, prepared = ARTIFACTS / "train" / variant, ARTIFACTS / "prepare"
    subject = load_subject(trained, prepared, params.records, numbers.seed)
    found = analyse(subject, resolve(params.analyses))
    with complete_dir(ARTIFACTS / "analyse" / variant) as folder:
        write(subject, found, load_config(trained)["model"], load_manifest(prepared).source["name"], folder)
    for entry, outcome in found.values():
        told = outcome.answer if isinstance(outcome, Outcome) else f"does not apply, {outcome.reason}"
        print(f"{variant}, {entry.title.lower()}: {told}")


if __name__ == "__main__":
    run_main(main)

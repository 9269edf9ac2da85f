"""Run one study: `make study-NAME`, which is `python -m tests.studies NAME`.

In:   the commit that is checked out, tests/studies/NAME.yaml: what differs from params.yaml, and where the study is
      more than one run of the pipeline, under `sweep:` the variant and the values of `python -m flows.sweeping`, or
      under `one_class:` the classes that are normal, one after the other; or tests/studies/NAME.py, which is no
      pipeline and says itself what it does
Out:  docs/studies/NAME/ — leaderboard.csv and report.html, where it compresses compression.csv and .svg instead; of a
      sweep table.csv and plot.svg; of one-class runs table.csv and table.md. The clone stays in .work/studies/NAME

The clone makes a study harmless: the checkout's own artifacts, dvc.lock and registry are not touched. A study that is
broken off goes on where it stopped, like any flow; a changed commit starts it afresh.
"""

import importlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.studies import _one_class
from tests.studies._checkouts import ROOT, adjusted, edit_params, execute, read

COMMIT = ("git", "-c", "user.name=study", "-c", "user.email=study@localhost", "commit", "-q", "--allow-empty", "-m")


def train(target: Path, compresses: bool) -> list[Path]:
    """The training flow; returns the files to keep."""
    execute(target, sys.executable, "-m", "flows.training")
    names = ("leaderboard.csv", *(("compression.csv", "compression.svg") if compresses else ("report.html",)))
    return [target / "artifacts/compare" / name for name in names]


def sweep(target: Path, name: str, variant: str, over: str) -> list[Path]:
    """A sweep, which begins at a commit; returns the files to keep."""
    execute(target, "dvc", "repro", "-q", "prepare", "resolve")
    execute(target, "git", "add", "--all")
    execute(target, *COMMIT, f"params of the study {name}")
    execute(target, sys.executable, "-m", "flows.sweeping", name, "--variant", variant, "--over", over)
    return [target / ".work/sweeps" / name / file for file in ("table.csv", "plot.svg")]


def one_class(target: Path, classes: list[str | int], study: dict[str, Any]) -> list[Path]:
    """Train and judge with one class after the other as the normal one; returns the files to keep."""
    found = []
    for normal in classes:
        edit_params(target, prepare={"normal_classes": [normal]})
        execute(target, "dvc", "repro", "-q", "evaluate", "baseline")
        found += _one_class.rows(str(normal), study["variants"], study["baselines"], target / "artifacts")
    _one_class.write_csv(target / ".work" / "table.csv", found)
    (target / ".work" / "table.md").write_text(_one_class.table(found))
    return [target / ".work" / name for name in ("table.csv", "table.md")]


def main(name: str, *arguments: str) -> None:
    """Run the study and keep its results; arguments are for one that is a script."""
    is_script = (ROOT / "tests" / "studies" / f"{name}.py").exists()
    with tempfile.TemporaryDirectory() as scratch:
        if is_script:
            files = importlib.import_module(f"tests.studies.{name}").run(Path(scratch), *arguments)
        else:
            files = pipeline(name)
        results = ROOT / "docs" / "studies" / name
        results.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copyfile(file, results / file.name)
    print(f"results: {results.relative_to(ROOT)}")


def pipeline(name: str) -> list[Path]:
    """A study that is params for the pipeline; returns the files to keep."""
    study = read(name)
    swept, classes = study.pop("sweep", None), study.pop("one_class", None)
    target = adjusted(name, study)
    if swept:
        return sweep(target, name, **swept)
    return one_class(target, classes, study) if classes else train(target, "compress" in study)


if __name__ == "__main__":
    main(*sys.argv[1:])

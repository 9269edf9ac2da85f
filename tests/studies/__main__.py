"""Run one study: `make study-NAME`, which is `python -m tests.studies NAME`.

In:   the commit that is checked out, tests/studies/NAME.yaml
Out:  docs/studies/NAME/ — leaderboard.csv and report.html; the clone itself stays in .work/studies/NAME

The clone makes a study harmless: the checkout's own artifacts, dvc.lock and registry are not touched. A study that is
broken off goes on where it stopped, like any flow; a changed commit starts it afresh.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from conftest import edit_params, environment  # noqa: E402

SCRATCH = ROOT / ".work" / "studies"
RESULTS = ("leaderboard.csv", "report.html")


def clone(name: str) -> Path:
    """A clone of the checked-out commit; the one of an earlier run where it is of the same commit."""
    target, head = SCRATCH / name, _git(ROOT, "rev-parse", "HEAD")
    if target.is_dir() and _git(target, "rev-parse", "HEAD") == head:
        _git(target, "checkout", "-q", "--", "params.yaml")
        return target
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "-q", str(ROOT), str(target)], check=True)
    (target / "dvc.lock").unlink(missing_ok=True)
    return target


def _git(where: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=where, check=True, capture_output=True, text=True).stdout.strip()


def main(name: str) -> None:
    """Run the study and keep its results."""
    target = clone(name)
    edit_params(target, **YAML(typ="safe").load(ROOT / "tests" / "studies" / f"{name}.yaml"))
    subprocess.run([sys.executable, "-m", "flows.training"], cwd=target, env=environment(), check=True)
    results = ROOT / "docs" / "studies" / name
    results.mkdir(parents=True, exist_ok=True)
    for file in RESULTS:
        shutil.copyfile(target / "artifacts" / "compare" / file, results / file)
    print(f"results: {results.relative_to(ROOT)}")


if __name__ == "__main__":
    main(*sys.argv[1:])

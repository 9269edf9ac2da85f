"""The workflow of CI is one that GitHub accepts, and its steps do what they say.

Reference: GitHub's schema (as check-jsonschema ships it); the steps' own shell, run by bash as GitHub does. What talks
to GitHub itself (`gh`, actions) is not run here.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from check_jsonschema.builtin_schemas import get_builtin_schema
from conftest import ROOT, environment, must
from publications import MLFLOWS_OWN, rewrite
from rebuildable import Rebuildable
from ruamel.yaml import YAML

pytestmark = [pytest.mark.filterwarnings(warning) for warning in MLFLOWS_OWN]
WORKFLOW: dict[str, Any] = YAML(typ="safe").load(ROOT / ".github/workflows/ci.yml")
STEPS: dict[str, Any] = {step["name"]: step for step in WORKFLOW["jobs"]["pipeline"]["steps"] if "name" in step}


def step(name: str, cwd: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a step's shell in a checkout, in which `.venv` is this environment."""
    if not (cwd / ".venv").exists():
        (cwd / ".venv").symlink_to(sys.prefix)
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[name]["run"]]
    return subprocess.run(
        command, cwd=cwd, env=environment(**env), capture_output=True, text=True, check=False, timeout=240
    )


def test_github_accepts_the_workflow() -> None:
    schema = get_builtin_schema("vendor.github-workflows")
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(WORKFLOW)] == []
    broken = json.loads(json.dumps(WORKFLOW))
    broken["jobs"]["pipeline"]["stepps"] = []
    assert not validator.is_valid(broken)


def test_only_one_step_sees_secrets_and_forks_need_none() -> None:
    seeing = [name for name, of in STEPS.items() if "secrets." in json.dumps(of)]
    assert seeing == ["Pull"]
    assert all(STEPS[name]["if"] == "env.HAS_REMOTE == 'true'" for name in ("Pull", "Push"))
    assert not any("${{" in of.get("run", "") for of in STEPS.values()), "an expression in a shell is an injection"
    assert WORKFLOW["permissions"] == {"contents": "read", "pull-requests": "write"}
    names = list(STEPS)
    assert names.index("Tests") < names.index("Pull") < names.index("Pipeline") < names.index("Push")


@pytest.mark.parametrize("name", [name for name, of in STEPS.items() if "run" in of])
def test_every_steps_shell_parses(name: str) -> None:
    must("bash", "-n", "-c", STEPS[name]["run"], cwd=ROOT)


def test_results_travel_by_the_remote_where_there_is_one(tmp_path: Path) -> None:
    project = Rebuildable(tmp_path / "project")
    project.run()
    project.commit()
    secrets = {"DVC_REMOTE_URL": str(tmp_path / "remote"), "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    done = step("Pull", project.path, **secrets)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr  # an empty remote is no fault
    assert step("Push", project.path).returncode == 0
    other = tmp_path / "other"
    must("git", "clone", "-q", str(project.path), str(other), cwd=tmp_path)
    metrics = "artifacts/evaluate/a/metrics.json"
    (other / metrics).parent.mkdir(parents=True)
    for name in ("dvc.lock", metrics):  # what git carries in the real project
        shutil.copy(project.path / name, other / name)
    assert step("Pull", other, **secrets).returncode == 0
    assert (other / "artifacts/compress/a/numbers.json").exists()
    assert must("dvc", "status", cwd=other).strip() == "Data and pipelines are up to date."
    away = {"DVC_REMOTE_URL": "s3://none/x", "AWS_ACCESS_KEY_ID": "planted", "AWS_SECRET_ACCESS_KEY": "planted"}
    done = step("Pull", project.path, **away, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert done.returncode == 0 and "::warning::dvc pull failed" in done.stdout
    assert "planted" in (project.path / ".dvc/config.local").read_text() and "planted" not in done.stdout + done.stderr
    assert not must("git", "status", "--porcelain", ".dvc", cwd=project.path)


def test_the_gates_fail_with_their_reasons(checkout: Path) -> None:
    board = checkout / "artifacts/compare/leaderboard.json"
    rewrite(board, eligible=True, reasons=[])
    assert step("Gates", checkout).returncode == 0
    rewrite(board, eligible=False, reasons=["no model beats PCA"])
    done = step("Gates", checkout)
    assert done.returncode == 1 and "no model beats PCA" in done.stdout


@pytest.mark.parametrize(
    ("status", "other", "passes"),
    [(0, [], True), (1, ["hardware"], True), (1, ["hardware", "code"], False), (1, [], False), (2, None, False)],
)
def test_only_other_hardware_excuses_a_version_that_comes_out_other(
    tmp_path: Path, status: int, other: list[str] | None, passes: bool
) -> None:
    causes = [{"code": "data", "verdict": "same"}, *({"code": code, "verdict": "unknown"} for code in other or ())]
    (tmp_path / ".venv/bin").mkdir(parents=True)
    python = tmp_path / ".venv/bin/python"
    write = "" if other is None else f"cat >reproduction.json <<'END'\n{json.dumps({'causes': causes})}\nEND\n"
    python.write_text(f"#!/bin/sh\n{write}exit {status}\n")
    python.chmod(0o755)
    assert (step("Reproduce", tmp_path).returncode == 0) is passes


def test_a_pull_request_is_shown_what_it_changes(checkout: Path) -> None:
    identity = ("-c", "user.name=tester", "-c", "user.email=tester@localhost")
    must("git", "add", "-A", cwd=checkout)
    must("git", *identity, "commit", "-q", "-m", "results", cwd=checkout)
    base = must("git", "rev-parse", "HEAD", cwd=checkout).strip()
    rewrite(checkout / "artifacts/evaluate/vanilla/metrics.json", mse=0.125)
    params = checkout / "params.yaml"
    params.write_text(params.read_text().replace("seed: 7 ", "seed: 8 "))
    files = [{"is_equal": True}, {"is_equal": False}]
    (checkout / "reproduction.json").write_text(json.dumps({"files": files, "version": "hourglass/1"}))
    github = {"GITHUB_SERVER_URL": "https://github.test", "GITHUB_REPOSITORY": "us/it", "GITHUB_RUN_ID": "7"}
    done = step("Changes against main", checkout, BASE_SHA=base, **github)
    assert done.returncode == 0, done.stderr
    comment = (checkout / "comment.md").read_text()
    cells = " ".join(comment.split())  # DVC pads its tables
    assert "| artifacts/evaluate/vanilla/metrics.json | mse |" in cells and "| params.yaml | seed | 7 | 8 |" in cells
    assert "vanilla" in comment.split("```")[1]  # components.compare --diff
    assert "Made again: 1 of 2 files of hourglass/1 are byte for byte the same." in comment
    assert "[this run](https://github.test/us/it/actions/runs/7)" in comment

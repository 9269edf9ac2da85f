"""dvc.yaml, params.yaml and the code agree: every imported module is a dependency, every stage has its room.

Reference: the imports in the source (module level and inside functions), read as text by `ast`.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from dvc.repo import Repo
from ruamel.yaml import YAML

from components import baselines, models
from components.params import MAPPINGS, read_params, section_names

GRAPH: dict[str, Any] = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
WITHOUT_CODE_DEPENDENCIES = {"ingest"}  # an old commit must reproduce from the cache although its source moved on


def body(stage: str) -> dict[str, Any]:
    return GRAPH[stage].get("do", GRAPH[stage])


def imports(path: Path) -> Iterator[Path]:
    """The project's own files that one file imports, packages on the way included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in filter(lambda name: name.split(".")[0] == "components", names):
            parts = name.split(".")
            for depth in range(1, len(parts) + 1):
                stem = ROOT.joinpath(*parts[:depth])
                yield from (file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file())


def reached(start: Path) -> set[Path]:
    """Every project file that running `start` can import, except models and sources that are found by name."""
    seen, todo = set(), [start]
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            todo += imports(path)
    return seen


def missing(stage: str, starts: list[Path]) -> set[str]:
    deps = [ROOT / dep for dep in body(stage).get("deps", [])]
    files = set().union(*map(reached, starts))
    uncovered = {f for f in files if not any(f == dep or dep in f.parents for dep in deps)}
    return {path.relative_to(ROOT).as_posix() for path in uncovered}


@pytest.mark.parametrize("stage", sorted(set(GRAPH) - WITHOUT_CODE_DEPENDENCIES))
def test_every_imported_module_is_a_dependency(stage: str) -> None:
    assert not missing(stage, [ROOT / "components" / f"{stage}.py"])


@pytest.mark.parametrize("model", models.known())
def test_a_models_own_imports_are_dependencies_of_every_stage_that_loads_it(model: str) -> None:
    for stage in GRAPH:
        # a stage of some variants cannot name the model's file, and follows what `resolve` says of it
        own = {"components/models/${item.model}.py", "artifacts/resolve/${item}.json"}
        if own & set(body(stage).get("deps", [])):
            uncovered = missing(stage, [ROOT / "components" / "models" / f"{model}.py"])
            assert uncovered <= {f"components/models/{model}.py"}, stage


@pytest.mark.parametrize("method", baselines.known())
def test_a_methods_own_imports_are_dependencies_of_baseline(method: str) -> None:
    own = f"components/baselines/{method}.py"
    assert missing("baseline", [ROOT / own]) == {own}
    assert "components/baselines/${item.method}.py" in body("baseline")["deps"]


def test_the_walk_notices_a_module_that_is_not_listed() -> None:
    dep = body("prepare")["deps"].pop(body("prepare")["deps"].index("components/sources"))
    try:
        assert "components/sources/__init__.py" in missing("prepare", [ROOT / "components" / "prepare.py"])
    finally:
        body("prepare")["deps"].append(dep)


def test_stages_that_need_the_libraries_list_the_lock() -> None:
    for stage in ("prepare", "train", "analyse", "export", "compress"):
        assert "requirements.lock" in body(stage)["deps"]


def test_one_name_runs_through_stage_file_params_and_test() -> None:
    acts = {"drift", "register", "reproduce", "retain", "score"}
    tested_elsewhere = {"score": "scoring_flow"}  # with the flow, by one registry
    files = {path.stem for path in (ROOT / "components").glob("*.py")} - {"__init__"}
    assert files == set(GRAPH) | acts
    assert set(section_names()) == (set(GRAPH) | acts) - {
        "baseline",
        "reproduce",
        "resolve",
        "score",
        "seeds",
    }  # others'
    for name in files:
        assert (ROOT / "tests" / f"test_{tested_elsewhere.get(name, name)}.py").is_file(), name
        if name in GRAPH:
            assert body(name)["cmd"].split()[:3] == ["python", "-m", f"components.{name}"]


def test_params_yaml_holds_every_section_and_reads_as_valid() -> None:
    raw = read_params(ROOT / "params.yaml")
    assert set(raw) == {*section_names(), *MAPPINGS, "seed", "threads"}


def test_only_what_computes_on_a_gpu_asks_the_flow_for_one() -> None:
    assert [stage for stage in GRAPH if body(stage).get("meta") == {"gpu": True}] == ["train", "seeds", "compress"]


def test_there_is_one_chain_per_variant_and_one_stage_per_baseline() -> None:
    names = {stage.addressing for stage in Repo(str(ROOT)).index.graph}
    raw = read_params(ROOT / "params.yaml")
    families = {
        "${variants}": raw["variants"],
        "${baselines}": raw["baselines"],
        "${analyse.variants}": raw["analyse"]["variants"],
    }
    for stage, definition in GRAPH.items():
        entries = families.get(definition.get("foreach"))
        expected = {stage} if entries is None else {f"{stage}@{entry}" for entry in entries}
        assert {name for name in names if name.split("@")[0] == stage} == expected

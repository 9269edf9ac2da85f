"""The README's commands and snippets are true: they run, and what they name exists.

Reference: the README itself, read as text.
"""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, environment
from ruamel.yaml import YAML

from components import analyses, scores, sources
from components.params import read_params
from components.params.variants import resolve

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_snippet_scores_records_with_nothing_of_ours(finished: Path) -> None:
    (snippet,) = blocks("python")
    snippet = snippet.replace("export/conv/", "export/vanilla/")
    check = "assert score.shape == p_value.shape == is_anomaly.shape == (len(images),)"
    # -I: no path to this project
    command = [sys.executable, "-I", "-c", f"{snippet}\n{check}"]
    subprocess.run(command, cwd=finished, env=environment(), check=True)


def test_the_variants_to_add_are_valid() -> None:
    raw = read_params(ROOT / "params.yaml")
    found = [added for block in blocks("yaml") for added in YAML(typ="safe").load(block).items()]
    assert found
    for name, variant in found:
        raw["variants"][name] = variant
        assert resolve(name, raw).train.epochs == variant.get("epochs", raw["train"]["epochs"])
        assert scores.resolve(variant.get("score", {}), name).keys() == variant.get("score", {}).keys()


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m ([a-z_.]+)", README))))
def test_every_module_that_it_names_exists(module: str) -> None:
    assert importlib.util.find_spec(module)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z-]+)", README))))
def test_every_target_that_it_names_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_source_and_analysis_is_in_its_table_and_every_picture_exists() -> None:
    for name in (*sources.known(), *analyses.known()):
        assert f"`{name}" in README
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / path).is_file(), path

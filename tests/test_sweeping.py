"""Sweeps: every value is an experiment of DVC's, side by side, judged on validation, and the workspace is not touched.

References: fit.json of each experiment in DVC's cache, `dvc exp show`, and git for what a point changed.
"""

import csv
import hashlib
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import must, run
from ruamel.yaml import YAML

from components.reporting.plots import save
from components.reporting.sweeping import METRICS, Row, best, errors_over
from components.runtime.errors import UserError
from flows.running.experiments import Point, Sweep, check_checkout, plan_sweep
from flows.running.graph import open_repo

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")
FIT = "artifacts/train/vanilla/fit.json"
SIZES = ("latent_dim=4,64,16", ("size-4", "size-64", "size-16"))


@pytest.fixture
def committed(checkout: Path) -> Path:
    """A finished checkout whose results are committed, as a sweep wants it."""
    must("git", "config", "user.name", "tester", cwd=checkout)
    must("git", "config", "user.email", "tester@localhost", cwd=checkout)
    must("git", "add", "-A", cwd=checkout)
    must("git", "commit", "-q", "-m", "results", cwd=checkout)
    return checkout


def sweeping(checkout: Path, over: str) -> tuple[int, str, str]:
    command = (sys.executable, "-m", "flows.sweeping", "size", "--variant", "vanilla", "--over", over)
    done = run(*command, cwd=checkout)
    return done.returncode, done.stdout, done.stderr


def contents(checkout: Path) -> dict[str, str]:
    """Digests of all that a user or a stage has written."""
    made = (".git", ".dvc", ".work", ".prefect", "__pycache__")
    files = [path for path in checkout.rglob("*") if path.is_file() and not {*made} & {*path.parts}]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def stages(checkout: Path, revision: str) -> dict[str, Any]:
    return YAML(typ="safe").load(must("git", "show", f"{revision}:dvc.lock", cwd=checkout))["stages"]


def cached(checkout: Path, stage: dict[str, Any], path: str) -> dict[str, float]:
    """An output of a stage, found in DVC's cache by the digest in dvc.lock."""
    (digest,) = (out["md5"] for out in stage["outs"] if out["path"] == path)
    return json.loads((checkout / ".dvc/cache/files/md5" / digest[:2] / digest[2:]).read_text())


def test_a_sweep_compares_values_on_validation_and_touches_neither_workspace_nor_test(committed: Path) -> None:
    over, names = SIZES
    before = contents(committed)
    code, out, err = sweeping(committed, over)
    mistake = "variants.vanilla.latent_dim: must be between 1 and 63 (records have 64 values), got 64"
    assert (code, err.splitlines()[-2]) == (1, "failed: size-64")
    assert err.splitlines()[-1].startswith(f"size-64: error: {mistake}")
    assert contents(committed) == before
    assert must("git", "status", "--porcelain", cwd=committed) == ""
    assert must("git", "for-each-ref", "refs/hourglass", "refs/stash", cwd=committed) == ""

    results = committed / ".work/sweeps/size"
    with (results / "table.csv").open() as stream:
        table = {row["experiment"]: row for row in csv.DictReader(stream)}
    assert tuple(table) == names
    assert not any(table["size-64"][name] for name in METRICS)
    listing = must("dvc", "exp", "show", "--csv", cwd=committed)
    shown = {row["Experiment"]: row for row in csv.DictReader(io.StringIO(listing))}
    references = dict(reversed(line.split()) for line in must("git", "show-ref", cwd=committed).splitlines())
    revisions = {name.rpartition("/")[2]: revision for name, revision in references.items() if "/exps/" in name}
    assert set(revisions) == {"size-4", "size-16"}
    for name, revision in revisions.items():
        old, new = stages(committed, "HEAD"), stages(committed, revision)
        fit = cached(committed, new["train@vanilla"], FIT)
        assert {metric: float(table[name][metric]) for metric in METRICS} == {metric: fit[metric] for metric in METRICS}
        assert all(float(shown[name][f"{FIT}:{metric}"]) == fit[metric] for metric in METRICS)
        assert shown[name]["variants.vanilla.latent_dim"] == table[name]["variants.vanilla.latent_dim"]
        # what ran and nothing else: no threshold, no evaluation, no comparison
        assert {stage for stage in new if new[stage] != old.get(stage)} == {"resolve", "train@vanilla"}

    assert "parameters, best epoch" in (results / "logs/size-4.log").read_text()
    assert f"error: {mistake}" in (results / "logs/size-64.log").read_text()
    assert {"vanilla", "PCA at the same code size"} <= set(
        re.findall(r">([^<]+)</text>", (results / "plot.svg").read_text())
    )
    winner = min(revisions, key=lambda name: float(table[name]["validation_mse_ratio_to_pca"]))
    assert f"winner: {winner}, of 2 points" in out

    must("dvc", "exp", "apply", winner, cwd=committed)
    assert json.loads((committed / FIT).read_text())["validation_mse"] == float(table[winner]["validation_mse"])
    assert "up to date" in must("dvc", "status", "train@vanilla", cwd=committed)


def test_mistakes_end_a_sweep_before_anything_starts(committed: Path) -> None:
    code, out, err = sweeping(committed, "latent_dm=4,8")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("error: variants.vanilla: unknown key 'latent_dm'; did you mean 'latent_dim'?")
    assert not (committed / ".prefect").exists() and not (committed / ".work/sweeps").exists()


@pytest.mark.parametrize(
    ("name", "variant", "over", "message"),
    [
        ("Size", "vanilla", "latent_dim=4", r"^sweep 'Size': a name is lower-case letters"),
        ("size", "vanila", "latent_dim=4", r"^variants: unknown variant 'vanila'; did you mean 'vanilla'\?"),
        ("size", "vanilla", "latent_dim", r"^--over 'latent_dim': must be a key and its values"),
        ("size", "vanilla", "hidden=[64,32", r"^--over 'variants.vanilla.hidden=\[64,32': cannot be read"),
        ("size", "vanilla", "latent_dim=4,8,4", r"'size-4' would name two experiments; name each value once"),
    ],
)
def test_what_cannot_be_a_sweep_is_named(
    finished: Path, in_directory: Callable[[Path], None], name: str, variant: str, over: str, message: str
) -> None:
    in_directory(finished)
    with pytest.raises(UserError, match=message):
        plan_sweep(name, variant, over)


def test_a_checkout_that_points_cannot_start_from_is_refused(
    committed: Path, in_directory: Callable[[Path], None]
) -> None:
    in_directory(committed)

    def check(key: str = "variants.vanilla.latent_dim") -> bool:
        with open_repo() as repo:
            return check_checkout(repo, Sweep("size", "vanilla", key, (Point("size-4", "4", f"{key}=4"),)))

    assert check() and check("seed") and check("prepare.split_key")
    with pytest.raises(UserError, match=r"^threshold.alpha: nothing up to train@vanilla reads it"):
        check("threshold.alpha")
    params = Path("params.yaml").read_text()
    Path("params.yaml").write_text(params.replace("split_key: hourglass", "split_key: other"))
    with pytest.raises(UserError, match=r"^checkout: params.yaml not committed"):
        check()
    must("git", "commit", "-q", "-a", "-m", "other splits", cwd=committed)
    with pytest.raises(UserError, match=r"^prepare: stale, and every point would run it; run `dvc repro prepare`"):
        check()


def test_any_key_can_be_swept_and_lists_are_values(finished: Path, in_directory: Callable[[Path], None]) -> None:
    in_directory(finished)
    widths = plan_sweep("widths", "vanilla", "hidden=[64],[64,32]")
    assert [(point.name, point.value) for point in widths.points] == [
        ("widths-64", "[64]"), ("widths-64-32", "[64,32]"),
    ]  # fmt: skip
    luck = plan_sweep("luck", "vanilla", "seed=range(1,4)")
    assert (luck.key, luck.target, [point.value for point in luck.points]) == ("seed", "train@vanilla", ["1", "2", "3"])


def rows(*values: str) -> list[Row]:
    return [
        Row(f"s-{value}", value, {METRICS[0]: 0.1 / at, METRICS[1]: 0.2 / at, METRICS[2]: at / 10})
        for at, value in enumerate(values, start=1)
    ]


def test_the_picture_shows_both_curves_in_order_and_its_bytes_repeat(tmp_path: Path) -> None:
    swept = [*rows("32", "8", "256"), Row("s-9", "9", None)]
    (axes,) = errors_over(swept, "latent_dim", "conv").axes
    curves = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert curves["conv"] == [[8, 0.05], [32, 0.1], [256, 0.1 / 3]]
    assert curves["PCA at the same code size"] == [[8, 0.1], [32, 0.2], [256, 0.2 / 3]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["8", "32", "256"]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
    for name in ("once", "again"):
        save(errors_over(swept, "latent_dim", "conv"), tmp_path / name)
    assert (tmp_path / "once").read_bytes() == (tmp_path / "again").read_bytes()


def test_values_that_are_no_numbers_stand_side_by_side_and_the_smallest_ratio_wins() -> None:
    losses = rows("mse", "l1")
    (axes,) = errors_over(losses, "loss", "conv").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["mse", "l1"]
    assert {line.get_linestyle() for line in axes.lines} == {"None"}
    assert best([*losses, Row("s-ssim", "ssim", None)]) is losses[0]
    assert best([Row("s-ssim", "ssim", None)]) is None

"""The stage `seeds`: the other seeds really train other networks, each as `train` would have; by default none does."""

import json
import sys
from pathlib import Path

import pytest
from conftest import edit_params, must


def seeds(checkout: Path, variant: str) -> list[dict[str, float]]:
    return json.loads((checkout / "artifacts/seeds" / variant / "seeds.json").read_text())


def test_one_seed_is_trains_own(finished: Path) -> None:
    for variant in ("pca", "vanilla"):
        fit = json.loads((finished / "artifacts/train" / variant / "fit.json").read_text())
        assert seeds(finished, variant) == [{"seed": 7, "validation_mse": fit["validation_mse"]}]


def test_each_further_seed_ends_as_training_with_it_does(checkout: Path) -> None:
    edit_params(checkout, compare={"seeds": 2}, train={"epochs": 3})
    train, repeat = ((sys.executable, "-m", f"components.{stage}", "vanilla") for stage in ("train", "seeds"))
    must(*train, cwd=checkout)
    assert "vanilla: 2 seeds" in must(*repeat, cwd=checkout)
    must(sys.executable, "-m", "components.seeds", "pca", cwd=checkout)
    own, second = seeds(checkout, "vanilla")
    assert (own["seed"], second["seed"]) == (7, 8)
    assert own["validation_mse"] != second["validation_mse"]
    assert len({run["validation_mse"] for run in seeds(checkout, "pca")}) == 1, "nothing in PCA is drawn"
    assert not list((checkout / ".work").glob("seeds/**/*.safetensors")), "checkpoints outlive their stage"

    # another seed of its own deals the splits anew, so only the network is trained with it
    edit_params(checkout, seed=8)
    must(*train, cwd=checkout)
    fit = json.loads((checkout / "artifacts/train/vanilla/fit.json").read_text())
    assert fit["validation_mse"] == pytest.approx(second["validation_mse"], rel=1e-6)

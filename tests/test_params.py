"""Wrong params fail before any data is read, with one line that says where, what and the fix.

Reference: the messages themselves, which are part of the interface.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, environment

from components import models
from components.params import read_params
from components.params.__main__ import check_all
from components.params.variants import resolve
from components.runtime.errors import UserError


def changed(path: str, value: Any) -> dict[str, Any]:
    """params.yaml as it is in the checkout, with one key changed, added, or removed (value is ...)."""
    raw = read_params(ROOT / "params.yaml")
    node, *rest = raw, *path.split(".")
    for key in rest[:-1]:
        node = node[key]
    if value is ...:
        del node[rest[-1]]
    else:
        node[rest[-1]] = value
    return raw


WRONG = [
    ("trian", {}, "params.yaml: unknown section 'trian'; did you mean 'train'?"),
    ("train.epoch", 3, "train: unknown key 'epoch'; did you mean 'epochs'?"),
    ("train.epochs", 0, "train.epochs: must be greater than or equal to 1, got 0; change train.epochs in params.yaml"),
    ("train.epochs", "many", "train.epochs: must be integer, got 'many'"),
    ("train.epochs", 2.5, "train.epochs: must be integer"),
    ("train.learning_rate", float("nan"), "train.learning_rate: must be a finite number, got nan"),
    ("train.optimizer", "adma", "train.optimizer: must be 'adam', 'adamw' or 'sgd', got 'adma'"),
    ("seed", -1, "seed: must be greater than or equal to 0, got -1"),
    ("seed", ..., "seed: is missing; add it to params.yaml"),
    ("threads", ..., "threads: is missing; add it to params.yaml"),
    ("evaluate", ..., "evaluate: is missing; add the section to params.yaml"),
    ("threads", 0, "threads: must be greater than or equal to 1"),
    ("threshold.alpha", 0, "threshold.alpha: must be greater than 0, got 0"),
    ("threshold.alpha", 1.0, "threshold.alpha: must be less than 1, got 1.0"),
    ("threshold.alpha", "5%", "threshold.alpha: must be number, got '5%'"),
    ("prepare.fractions.train", 0.9, "prepare.fractions: must add up to 1, they add up to 1.35"),
    ("prepare.fractions.train", 0, "prepare.fractions.train: must be greater than 0, got 0"),
    ("prepare.fractions.holdout", 0.1, "prepare.fractions: unknown key 'holdout'"),
    ("ingest.source", "digit", "ingest.source: unknown source 'digit'; did you mean 'digits'?"),
    ("ingest.source", "torchvision:MNITS", "unknown data set of torchvision 'MNITS'; did you mean 'MNIST'?"),
    ("ingest.source", "digits:8x8", "'digits:8x8' takes no name behind a colon; write digits"),
    ("ingest.source", "idx", "ingest.path: is missing, source 'idx' reads a folder; set ingest.path to it"),
    ("variants", {}, "variants: is empty; name at least one variant"),
    ("variants", [], "variants: must be a mapping, got []"),
    ("variants.new", {}, "variants.new.model: is missing; name a model: batchnorm, "),
    ("variants.new", {"model": "vanila"}, "variants.new.model: unknown model 'vanila'; did you mean 'vanilla'? known:"),
    ("variants.new", {"model": "vanilla", "latent": 3}, "variants.new: unknown key 'latent'; did you mean"),
    ("variants.new", {"model": "vanilla", "latent_dim": 0}, "variants.new.latent_dim: must be greater than or equal"),
    ("variants.new", {"model": "vanilla", "latent_dim": "8"}, "variants.new.latent_dim: must be integer, got '8'"),
    ("variants.new", {"model": "vanilla", "epochs": 0}, "variants.new.epochs: must be greater than or equal to 1"),
    ("variants.new", {"model": "vanilla", "base": "conv"}, "variants.new: unknown key 'base'"),
    (
        "variants.new",
        {"model": "denoising", "base": "pca"},
        "variants.new.base: 'pca' cannot be wrapped; use batchnorm, ",
    ),
    ("variants.new", {"model": "denoising", "base": "cnov"}, "variants.new.base: unknown model 'cnov'; did you mean"),
    (
        "variants.new",
        {"model": "vanilla", "loss": "mae"},
        "variants.new.loss: must be auto, mse, bce, l1, huber, ssim, ",
    ),
    ("variants.Neu", {"model": "vanilla"}, "variants.Neu: a name is lower-case letters"),
    ("compare.winner", "luck", "compare.winner: must be 'mse_ratio_to_pca' or 'auroc', got 'luck'"),
    ("compare.gates.min_auroc", 2, "compare.gates.min_auroc: must be less than or equal to 1, got 2"),
    ("register.name", "a/b", "register.name: "),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG, ids=[f"{path}={value}" for path, value, _ in WRONG])
def test_a_wrong_param_is_named_with_the_rule_and_the_fix(path: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_all(changed(path, value))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_params_of_the_checkout_are_valid() -> None:
    check_all(read_params(ROOT / "params.yaml"))


def test_a_variant_overrides_training_and_deals_its_keys_to_model_and_base() -> None:
    raw = changed("variants.new", {"model": "denoising", "base": "conv", "channels": 4, "strength": 0.5, "epochs": 2})
    variant = resolve("new", raw)
    assert (variant.model, variant.base, variant.train.epochs) == ("denoising", "conv", 2)
    assert variant.base_params.model_dump()["channels"] == 4
    assert variant.params.model_dump()["strength"] == 0.5
    assert variant.train.batch_size == raw["train"]["batch_size"]


def test_an_unknown_variant_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="variants: unknown variant 'vanila'; did you mean 'vanilla'"):
        resolve("vanila", read_params(ROOT / "params.yaml"))


@pytest.mark.parametrize("model", models.known())
def test_every_model_builds_a_variant_from_its_defaults(model: str) -> None:
    assert resolve("new", changed("variants.new", {"model": model})).model == model


def test_every_field_of_every_section_says_what_it_is() -> None:
    for path in sorted((ROOT / "components" / "params").glob("*.py")):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            if line.startswith("    ") and ": " in line and "Field(" in line and line.rstrip().endswith(")"):
                assert lines[number + 1].strip().startswith('"""'), f"{path.name}:{number + 1}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1\n", "params.yaml line 2: is not valid YAML"),
        (b"seed: 1\nseed: 2\n", "params.yaml line 2: is not valid YAML: found duplicate key"),
        (b"- 1\n", "params.yaml: must be a mapping of sections; restore it from git"),
        (b"a: \xff\n", "params.yaml: is not UTF-8 (byte 3); save it as UTF-8"),
        (None, "params.yaml: is missing; run in the root of the checkout"),
    ],
)
def test_a_damaged_file_ends_with_one_line_and_exit_code_2(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "params.yaml").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-m", "components.params"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1

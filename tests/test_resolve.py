"""resolve says what each variant is made of, so that an edited model retrains what it is part of, and nothing else.

Reference: DVC's own verdict on which stages are stale, in a finished checkout.
"""

import json
from pathlib import Path

from conftest import TINY, edit_params, must

from components.models import file_digest
from components.params import read_params
from components.params.variants import resolve
from components.resolve import describe


def test_every_default_is_filled_in_and_every_model_file_is_named() -> None:
    raw = read_params() | {"variants": {"d": {"model": "denoising", "base": "conv", "epochs": 3}}}
    described = describe(resolve("d", raw))
    assert described["files"] == {name: file_digest(name) for name in ("denoising", "conv")}
    assert described["train"]["epochs"] == 3
    assert described["base_params"] == {"latent_dim": 32, "channels": 32, "depth": 3}
    json.dumps(described)


def test_an_edited_base_makes_what_wraps_it_stale_and_nothing_else(checkout: Path) -> None:
    noisy = {"model": "denoising", "base": "vanilla", "latent_dim": 8, "epochs": 2}
    edit_params(checkout, variants={**TINY["variants"], "noisy": noisy})
    must("dvc", "repro", "-q", "train@noisy", cwd=checkout)
    with (checkout / "components" / "models" / "vanilla.py").open("a") as stream:
        stream.write("# edited\n")
    must("dvc", "repro", "-q", "-s", "resolve", cwd=checkout)
    stale = json.loads(must("dvc", "status", "--json", cwd=checkout))
    trains = {stage for stage in stale if stage.startswith("train@")}
    assert trains == {"train@vanilla", "train@noisy"}

"""Stage `resolve`: what each variant of params.yaml is made of, with every default filled in.

In:   params.yaml (train, variants), components/models/
Out:  artifacts/resolve/VARIANT.json — model, base, all params, and the digest of each model file behind it
Run:  python -m components.resolve

DVC can name a file by `${item.model}` but has no way to say "and the base's file, where there is a base". This stage
follows every model file; `train@V` follows this stage's line about V. So an edited base retrains what wraps it, and
an edited model retrains nothing else.
"""

import dataclasses
from pathlib import Path

from components import models
from components.params import read_params
from components.params.variants import Variant, resolve_all
from components.runtime.errors import run_main
from components.runtime.outputs import ARTIFACTS, complete_dir, write_json
from components.runtime.process import die_with_parent


def resolve(variants: list[Variant], out: Path = ARTIFACTS / "resolve") -> None:
    """Write one file per variant."""
    with complete_dir(out) as folder:
        for variant in variants:
            write_json(folder / f"{variant.name}.json", describe(variant))


def describe(variant: Variant) -> dict[str, object]:
    """A variant as plain data, with the SHA-256 of its model file and of its base's."""
    plain = dataclasses.asdict(variant)
    if models.find(variant.model).closed_form:
        plain["train"] = None  # a closed form has no steps: new epochs must not make it stale
    for key in ("params", "base_params", "train"):
        plain[key] = plain[key] and plain[key].model_dump()
    names = [name for name in (variant.model, variant.base) if name]
    return {**plain, "files": {name: models.file_digest(name) for name in names}}


def main() -> None:
    """Run the stage."""
    die_with_parent()
    variants = resolve_all(read_params())
    resolve(variants)
    print(", ".join(f"{variant.name}: {variant.model}" for variant in variants))


if __name__ == "__main__":
    run_main(main)

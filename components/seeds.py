"""Stage `seeds`: repeat one variant's training with other seeds, to see how much of its result was luck.

In:   artifacts/train/V/fit.json, artifacts/resolve/V.json, artifacts/prepare/{train,validation}.npy and manifest.json
Out:  artifacts/seeds/V/ — seeds.json (the validation error that each seed ends with)
Run:  python -m components.seeds V

`compare.seeds` counts the seeds, train's own among them; 1, the default, repeats nothing. Test is never opened.
"""

import sys
from pathlib import Path
from typing import Any

from components.params import load_globals, load_section
from components.runtime.errors import run_main
from components.runtime.outputs import ARTIFACTS, WORK, complete_dir, read_json, write_json
from components.runtime.process import die_with_parent, make_deterministic, set_threads, variant_argument

Run = dict[str, Any]
"""A seed and the `validation_mse` it ends with."""


def repeat(variant: str, own: Run, count: int, out: Path = ARTIFACTS / "seeds") -> None:
    """Train the variant with the seeds that follow its own, and write down how each ends.

    Args:
        variant: its name.
        own: the run that `train` made.
        count: how many seeds there are to be, `own` among them.
        out: folder of all variants.

    Raises:
        UserError: the variant is not resolved, does not suit the data, or training diverges.
    """
    from components.data.splits import load_records
    from components.scoring.score import score_records
    from components.training.fitting import fit
    from components.training.planning import plan
    from components.training.progress import epoch_log

    planned = plan(variant)
    runs, checkpoints = [own], []
    for seed in (own["seed"] + number for number in range(1, count)):
        if planned.closed_form:  # nothing in it is drawn
            runs.append({**own, "seed": seed})
            continue
        with epoch_log(f"{variant}, seed {seed}", live=sys.stderr.isatty()) as log:
            fitted = fit(variant, planned, seed, log, WORK / "seeds" / str(seed))
        checkpoints.append(fitted.checkpoints)
        errors = score_records(fitted.network, fitted.scale, load_records("validation"))
        runs.append({"seed": seed, "validation_mse": float(errors.mean(dtype="float64"))})
    _write(out / variant, runs)
    for checkpoint in checkpoints:
        checkpoint.remove()


def _write(folder: Path, runs: list[Run]) -> None:
    with complete_dir(folder) as unfinished:
        write_json(unfinished / "seeds.json", runs)


def main() -> None:
    """Run the stage."""
    variant = variant_argument()
    die_with_parent()
    count, numbers = load_section("compare").seeds, load_globals()
    fit = read_json(ARTIFACTS / "train" / variant / "fit.json", f"train@{variant}")
    own = {"seed": numbers.seed, "validation_mse": fit["validation_mse"]}
    if count == 1:  # without torch, whose import would be all that a default run waits for
        _write(ARTIFACTS / "seeds" / variant, [own])
        print(f"{variant}: one seed, as compare.seeds says")
        return
    set_threads(numbers.threads)
    make_deterministic(numbers.threads)
    repeat(variant, own, count)
    print(f"{variant}: {count} seeds")


if __name__ == "__main__":
    run_main(main)

"""Stage `threshold`: errors of held-out normal records to a threshold whose false-alarm rate is bounded.

In:   artifacts/train/V, the calibration split of artifacts/prepare; no training, selection or test record
Out:  artifacts/threshold/V — threshold.json {alpha, n, m, threshold, upper_95, method, confidence},
      calibration_scores.npy (sorted)
Run:  python -m components.threshold V
"""

from pathlib import Path
from typing import TYPE_CHECKING

from components.params import load_globals, load_section
from components.params.threshold import Params
from components.runtime.errors import run_main
from components.runtime.outputs import ARTIFACTS, complete_dir
from components.runtime.process import die_with_parent, make_deterministic, set_threads, variant_argument

if TYPE_CHECKING:
    from components.scoring.conformal import Calibration


def calibrate(trained: Path, prepared: Path, params: Params, seed: int) -> "Calibration":
    """Fit the threshold of the model in `trained`.

    At most `params.max_n` records are used, a random subset drawn with `seed`: the first ones would not do, because
    sources are often sorted by class or by time and conformal prediction needs exchangeable records.

    Raises:
        UserError: too few calibration records for the promise, scores that are not finite, or a missing artifact.
    """
    import numpy as np

    from components.data.scaling import Scale
    from components.data.splits import load_manifest, load_records
    from components.scoring.conformal import Calibration, require_enough
    from components.scoring.score import score_records
    from components.training.weights import load_model

    records = load_records("calibration", prepared)
    require_enough(min(len(records), params.max_n), params.alpha, params.confidence)
    rows = None
    if len(records) > params.max_n:
        rows = np.sort(np.random.default_rng(seed).choice(len(records), params.max_n, replace=False))
    scores = score_records(load_model(trained), Scale(load_manifest(prepared)), records, rows)
    return Calibration.fit(scores, params.alpha, params.confidence)


def main() -> None:
    """Run the stage."""
    variant = variant_argument()
    die_with_parent()
    params, shared = load_section("threshold"), load_globals()
    set_threads(shared.threads)
    make_deterministic(shared.threads)
    found = calibrate(ARTIFACTS / "train" / variant, ARTIFACTS / "prepare", params, shared.seed)
    with complete_dir(ARTIFACTS / "threshold" / variant) as folder:
        found.save(folder)
    print(
        f"{variant}: an alarm above {found.threshold:.4g}; at most {found.alpha:g} of normal records raise one "
        f"{found.promise}; this set of {found.n} keeps below {found.upper_95:.3f} with 95 % confidence"
    )


if __name__ == "__main__":
    run_main(main)

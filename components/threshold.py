"""Stage `threshold`: a trained model becomes a detector: its scores are fitted, and a threshold whose false-alarm rate
is bounded.

In:   artifacts/train/V; of artifacts/prepare the splits train and validation (for scores), calibration (for the
      threshold); no selection or test record
Out:  artifacts/threshold/V — threshold.json {alpha, n, m, threshold, upper_95, method, confidence},
      calibration_scores.npy (sorted), score.json and score.safetensors (what the scores are made of)
Run:  python -m components.threshold V
"""

from pathlib import Path
from typing import TYPE_CHECKING

from components.params import load_globals
from components.params.threshold import Params, of_variant
from components.runtime.errors import run_main
from components.runtime.outputs import ARTIFACTS, complete_dir
from components.runtime.process import die_with_parent, make_deterministic, set_threads, variant_argument

if TYPE_CHECKING:
    import numpy as np

    from components.scoring.conformal import Calibration
    from components.scoring.detector import Detector


def fit(trained: Path, prepared: Path, params: Params, seed: int) -> "Detector":
    """Fit the scores of the model in `trained`, to normal records of train and validation.

    Raises:
        UserError: a score does not suit the data, or a missing artifact.
    """
    from components.data.scaling import Scale
    from components.data.splits import load_manifest, load_records
    from components.scoring.detector import fit_detector
    from components.training.weights import load_model

    splits = (load_records(split, prepared) for split in ("train", "validation"))
    scale = Scale(load_manifest(prepared))
    return fit_detector(load_model(trained), scale, *splits, params.score, params.combine, seed, "threshold.score")


def calibrate(detector: "Detector", prepared: Path, params: Params, seed: int) -> "Calibration":
    """Fit the threshold of a detector, to at most `params.max_n` records that `seed` draws.

    Raises:
        UserError: too few calibration records for the promise, scores that are not finite, or a missing artifact.
    """
    from components.data.scaling import Scale
    from components.data.splits import load_manifest, load_records
    from components.scoring.conformal import fit_threshold
    from components.scoring.detector import detect

    records, scale = load_records("calibration", prepared), Scale(load_manifest(prepared))

    def score(rows: "np.ndarray | None") -> "np.ndarray":
        return detect(detector, scale, records, rows)[0]

    return fit_threshold(score, len(records), params.alpha, params.confidence, params.max_n, seed)


def main() -> None:
    """Run the stage."""
    variant = variant_argument()
    die_with_parent()
    shared = load_globals()
    set_threads(shared.threads)
    make_deterministic(shared.threads)
    params = of_variant(variant)
    detector = fit(ARTIFACTS / "train" / variant, ARTIFACTS / "prepare", params, shared.seed)
    found = calibrate(detector, ARTIFACTS / "prepare", params, shared.seed)
    with complete_dir(ARTIFACTS / "threshold" / variant) as folder:
        detector.save(folder)
        found.save(folder)
    print(
        f"{variant}: an alarm above {found.threshold:.4g}; at most {found.alpha:g} of normal records raise one "
        f"{found.promise}; this set of {found.n} keeps below {found.upper_95:.3f} with 95 % confidence"
    )


if __name__ == "__main__":
    run_main(main)

"""Stage `baseline`: judge a simple method as a model is judged, on the same splits and by the same measures.

In:   of artifacts/prepare the splits train (for the method), calibration (for its threshold) and test (to judge it)
Out:  artifacts/baseline/B/ — metrics.json, scores.csv (one line per test record)
Run:  python -m components.baseline B

B is an entry of `baselines:` in params.yaml. A baseline is measured and shown; it never wins and is never exported.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.params import load_globals, load_section, read_params
from components.params.baselines import Baseline, resolve
from components.params.threshold import Params as Promise
from components.runtime.errors import UserError, run_main
from components.runtime.outputs import ARTIFACTS, complete_dir, write_json
from components.runtime.process import die_with_parent, entry_argument, set_threads

if TYPE_CHECKING:
    import numpy as np

    from components.baselines import Fitted
    from components.data.splits import Scaling
    from components.scoring.tables import Columns

_MOST_BYTES = 2**29
"""What the records that a method is fitted to may take in memory; scikit-learn makes copies of them."""


@dataclass(frozen=True)
class Found:
    """What the stage finds."""

    metrics: dict[str, Any]
    columns: "Columns"
    """Of scores.csv (record,) each."""


def judge(baseline: Baseline, prepared: Path, promise: Promise, bootstrap: int, seed: int) -> Found:
    """Fit a baseline to train, its threshold to calibration, and judge both on test.

    Args:
        baseline: the method and its params.
        prepared: artifacts/prepare.
        promise: about false alarms; that of the variants.
        bootstrap: resamples behind the intervals of rankings.
        seed: draws subsets and resamples, and whatever the method draws.

    Raises:
        UserError: the records do not suffice for the method or the promise, or a missing artifact.
    """
    import numpy as np

    from components import baselines
    from components.data.splits import load_anomalous, load_classes, load_manifest, load_records
    from components.scoring.conformal import fit_threshold
    from components.scoring.decided import decided
    from components.scoring.tables import judged_columns

    manifest, train = load_manifest(prepared), load_records("train", prepared)
    x = _sample(train, manifest.scaling, baseline.params.records, seed)
    try:
        fitted = baselines.find(baseline.method).fit(baseline.params, x, seed)
    except ValueError as error:
        where = f"baselines.{baseline.name}"
        raise UserError(where, str(error), f"change {where} in params.yaml") from None

    calibration_records = load_records("calibration", prepared)

    def score(rows: "np.ndarray | None") -> "np.ndarray":
        return _scores(fitted, calibration_records, manifest.scaling, rows)[0]

    calibration = fit_threshold(score, len(calibration_records), promise.alpha, promise.confidence, promise.max_n, seed)
    scores, errors = _scores(fitted, load_records("test", prepared), manifest.scaling)
    anomalous = load_anomalous("test", manifest, prepared)
    metrics = {
        "method": baseline.method,
        "meaning": fitted.meaning,
        "fitted_records": len(x),
        **decided(scores, anomalous, calibration, bootstrap, seed),
    }
    columns = judged_columns(load_classes("test", manifest, prepared), anomalous, scores, calibration)
    if errors is not None:
        metrics["mse"] = float(errors[~anomalous].mean(dtype=np.float64))
        columns["squared_error"] = errors
    return Found(metrics, columns)


def _sample(records: "np.ndarray", scaling: "Scaling", most: int, seed: int) -> "np.ndarray":
    """At most so many records, as many as there is room for, in their order: scaled (record, value) float64."""
    import numpy as np

    size = min(len(records), most, max(2, _MOST_BYTES // (8 * records[0].size)))
    rows = np.sort(np.random.default_rng(seed).choice(len(records), size, replace=False))
    return _flat(scaling, records[rows])


def _flat(scaling: "Scaling", raw: "np.ndarray") -> "np.ndarray":
    return scaling.apply(raw).reshape(len(raw), -1).astype("float64")


def _scores(
    fitted: "Fitted", records: "np.ndarray", scaling: "Scaling", rows: "np.ndarray | None" = None
) -> "tuple[np.ndarray, np.ndarray | None]":
    """Scores and, of a method that reconstructs, squared errors of raw records: (record,) float32 each."""
    import numpy as np

    from components.data.batches import raw_batches

    def judged() -> "Iterator[tuple[np.ndarray, np.ndarray | None]]":
        for raw in raw_batches(records, rows):
            x = _flat(scaling, raw)
            x_hat = fitted.reconstruct(x)
            yield fitted.score(x), None if x_hat is None else np.square(x_hat - x).mean(1)

    scores, errors = zip(*judged(), strict=True)
    joined = np.concatenate(scores).astype(np.float32)
    return joined, None if errors[0] is None else np.concatenate(errors).astype(np.float32)


def main() -> None:
    """Run the stage."""
    name = entry_argument("baselines", "neighbours")
    die_with_parent()
    raw = read_params()
    numbers = load_globals(raw)
    set_threads(numbers.threads)
    promise, bootstrap = load_section("threshold", raw), load_section("evaluate", raw).bootstrap
    found = judge(resolve(name, raw), ARTIFACTS / "prepare", promise, bootstrap, numbers.seed)
    from components.scoring.tables import write_records

    with complete_dir(ARTIFACTS / "baseline" / name) as folder:
        write_json(folder / "metrics.json", found.metrics)
        write_records(folder / "scores.csv", found.columns)
    alarms, alpha, area = (found.metrics.get(key) for key in ("false_alarm_rate", "alpha", "auroc"))
    told = "no labels to tell anomalies by" if area is None else f"AUROC {area:.3f}"
    print(f"{name}: {found.metrics['meaning']}: {told}, {alarms:.1%} false alarms (alpha {alpha:g})")


if __name__ == "__main__":
    run_main(main)

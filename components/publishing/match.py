"""The champion match: both models on the same test records, to which neither was fitted, compared record by record.

The metric is the one that chose the challenger, `difference` is positive when the challenger is better:

- mse_ratio_to_pca: 1 - challenger's squared error / champion's squared error over normal records, both in the
  challenger's units (PCA's error would be the same for both and cancels), with a paired bootstrap: each resample draws
  the same records for both. 0.1 is a tenth less error.
- auroc: challenger's AUROC - champion's AUROC, with DeLong's covariance of the two in closed form.

Squared errors of tables compare only where both versions make the same features of a row, which new training records
may end; by AUROC any two versions with the same columns compare.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.comparing.pairs import area_differences
from components.data.batches import batch_of
from components.data.columns import PREPROCESS
from components.data.rows import days_to, read_rows
from components.data.splits import Manifest, load_anomalous, load_manifest, load_records
from components.publishing.listing import LISTING, digest_split, was_fitted
from components.publishing.version import PROVENANCE, SCORER
from components.runtime.errors import UserError
from components.scoring.areas import Scored
from components.scoring.metrics import Estimate, mean_ratio

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FEWEST_RECORDS = 30
"""Of each kind that the metric needs; on fewer, a bootstrap interval is narrower than the truth."""
_CHUNK = 1024  # records at most


class Incomparable(Exception):  # noqa: N818 - a finding, no fault
    """Champion and challenger cannot be compared; the message says why."""


@dataclass(frozen=True)
class Match:
    """A comparison with its 95 % interval."""

    metric: str
    records: int
    excluded: int
    """Test records that the champion was fitted to."""
    difference: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.metric == "auroc":
            values = f"AUROC {self.difference:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"
        else:
            values = f"squared error {-self.difference:+.1%} [{-self.high:+.1%}, {-self.low:+.1%}]"
        seen = f", {self.excluded:,} that it was fitted to left out" if self.excluded else ""
        return f"{values} against the champion's on the same {self.records:,} new test records{seen}"

    @property
    def figures(self) -> dict[str, float]:
        """The numbers, for a table."""
        return {"records": self.records, "difference": self.difference, "low": self.low, "high": self.high}


def play(champion: Path, challenger: Path, rule: str, resamples: int, seed: int) -> Match:
    """Compare two versions on the test records in artifacts/, to which the challenger belongs.

    Args:
        champion: folder of a registered model.
        challenger: a scorer.onnx.
        rule: compare.winner.
        resamples: behind the 95 % interval of squared errors.
        seed: of that bootstrap.

    Raises:
        Incomparable: other inputs, a champion without its records, or too few new records.
    """
    theirs, ours = _manifest_of(champion), load_manifest()
    _check_inputs(theirs, ours, rule)
    listing = np.load(champion / PROVENANCE / LISTING, allow_pickle=False)
    new = ~was_fitted(listing, digest_split("test"))
    anomalous = load_anomalous("test", ours)
    contestant = _TableScorer if ours.columns else _Scorer
    before, after = contestant(champion / SCORER, theirs, ours), contestant(challenger, ours, ours)
    if rule == "auroc":
        rows = np.flatnonzero(new)
        _require(int(anomalous[rows].sum()), "anomalous")
        _require(int((~anomalous[rows]).sum()), "normal")
        both = Scored(anomalous[rows], np.stack([after.scores(rows), before.scores(rows)], axis=1))
        found = area_differences(both)
        estimate = Estimate(float(found.values[0]), float(found.low[0]), float(found.high[0]))
    else:
        rows = np.flatnonzero(new & ~anomalous)
        _require(len(rows), "normal")
        ratio = mean_ratio(after.squared_errors(rows), before.squared_errors(rows), resamples, seed)
        estimate = Estimate(1 - ratio.value, 1 - ratio.high, 1 - ratio.low)
    return Match(rule, len(rows), int((~new).sum()), *estimate)


class _Scorer:
    """An exported graph, run over chosen test records.

    Args:
        path: of scorer.onnx.
        own: the manifest that it belongs to.
        units: that of the test records, in whose scaled units errors are measured.
    """

    def __init__(self, path: Path, own: Manifest, units: Manifest) -> None:
        self.session = _open(path)
        self.shift, self.scale = _scaling(own)
        _, self.unit = _scaling(units)

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """The graph's own score (row,)."""
        return np.concatenate([scores for _, scores in self._run("score", rows)])

    def squared_errors(self, rows: np.ndarray) -> np.ndarray:
        """Squared error of the reconstruction (row,)."""
        return np.concatenate(
            [
                np.square((x_hat * self.scale + self.shift - raw) / self.unit).reshape(len(raw), -1).mean(1)
                for raw, x_hat in self._run("reconstruction", rows)
            ]
        )

    def _run(self, output: str, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        records = load_records("test")
        size = batch_of(records.shape[1:], _CHUNK)
        for start in range(0, len(rows), size):
            raw = records[rows[start : start + size]]
            yield raw, self.session.run([output], {"input": raw})[0]


class _TableScorer:
    """The same for the graph of a table, which takes raw columns.

    Args:
        path: of scorer.onnx.
        own: the manifest that it belongs to; its dates may count from other days.
        rows: that of the test records.
    """

    def __init__(self, path: Path, own: Manifest, rows: Manifest) -> None:
        self.session, self.columns = _open(path), rows.columns
        ends = [{c.name: days_to(c.origin) for c in side.columns if c.origin is not None} for side in (rows, own)]
        self.shifts = {name: days - ends[1][name] for name, days in ends[0].items()}

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """The graph's own score (row,)."""
        wanted = np.zeros(1 + int(rows.max(initial=-1)), bool)
        wanted[rows] = True
        parts, start = [np.empty(0, np.float32)], 0
        for chunk in read_rows("test", self.columns, size=_CHUNK):
            size = len(chunk[self.columns[0].name])
            keep = np.flatnonzero(wanted[start : start + size])
            parts += self.session.run(["score"], {name: self._moved(name, v[keep]) for name, v in chunk.items()})
            start += size
        return np.concatenate(parts)

    squared_errors = scores
    """The score is the squared error; both versions make the same features, so their units are the same."""

    def _moved(self, name: str, values: np.ndarray) -> np.ndarray:
        """Dates as days since the graph's own origin."""
        shift = self.shifts.get(name)
        return (values.astype(np.float64) + shift).astype(np.float32) if shift else values


def _open(path: Path) -> "InferenceSession":
    from onnxruntime import InferenceSession

    return InferenceSession(path, providers=["CPUExecutionProvider"])


def _scaling(manifest: Manifest) -> tuple[np.ndarray, np.ndarray]:
    return np.squeeze(np.array(manifest.scaling.shift)), np.squeeze(np.array(manifest.scaling.scale))


def _manifest_of(champion: Path) -> Manifest:
    needed = (SCORER, Path(PROVENANCE) / "manifest.json", Path(PROVENANCE) / LISTING)
    if missing := [path.name for path in needed if not (champion / path).exists()]:
        raise Incomparable(f"the champion comes without {', '.join(missing)}")
    try:
        return load_manifest(champion / PROVENANCE)
    except UserError as error:
        raise Incomparable(f"the champion's manifest.json {error.what}") from None


def _check_inputs(theirs: Manifest, ours: Manifest, rule: str) -> None:
    if _inputs(theirs) != _inputs(ours):
        raise Incomparable(f"it takes other inputs ({_describe(ours)}) than the champion ({_describe(theirs)})")
    if ours.columns and rule != "auroc" and theirs.digests[PREPROCESS] != ours.digests[PREPROCESS]:
        raise Incomparable(
            "it makes other features of a row than the champion, so their squared errors have different units; "
            "with labelled anomalies, set compare.winner to auroc"
        )


def _inputs(manifest: Manifest) -> tuple[object, ...]:
    if manifest.columns:
        return manifest.kind, {column.name: column.kind for column in manifest.columns}
    # an image's range is declared, an array's is what its training records happened to span
    declared = manifest.value_range if manifest.kind == "image" else None
    return manifest.kind, manifest.item_shape, manifest.dtype, declared


def _describe(manifest: Manifest) -> str:
    if manifest.columns:
        return f"columns {', '.join(sorted(f'{column.name}: {column.kind}' for column in manifest.columns))}"
    low, high = manifest.value_range
    span = f" of {low:g} to {high:g}" if manifest.kind == "image" else ""
    return f"{manifest.kind} {'x'.join(map(str, manifest.item_shape))} {manifest.dtype}{span}"


def _require(records: int, kind: str) -> None:
    if records < FEWEST_RECORDS:
        what = f"only {records} {kind} test records are new to the champion"
        raise Incomparable(f"{what}, a match takes {FEWEST_RECORDS}")

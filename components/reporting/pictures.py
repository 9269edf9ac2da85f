"""The pictures of one evaluation: which records they show and what stands beside them."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from components.data.columns import column_of
from components.reporting import plots, table_plots
from components.scoring.judged import Judged
from components.scoring.score import by_column, reconstruct

_MOST_CODES = 10_000  # records of a large split whose codes are looked at, evenly spaced


def draw(judged: Judged, history: Path, best_epoch: int | None, number: int, folder: Path) -> None:
    """Write anomalies.svg, errors.svg, codes.svg, with labels mistakes.svg, and, where there were epochs, losses.svg.

    Besides, reconstructions.svg of images and arrays, columns.svg of tables.

    Args:
        judged: the test records.
        history: history.csv of the training.
        best_epoch: row of history.csv whose weights were kept; None for a model fitted in closed form.
        number: records in the pictures that show records.
        folder: made here.
    """
    folder.mkdir()
    if judged.columns:
        plots.save(_explained(judged), folder / "columns.svg")
    else:
        plots.save(_reconstructions(judged, number), folder / "reconstructions.svg")
    plots.save(_anomalies(judged, number), folder / "anomalies.svg")
    if len(mistakes := _mistakes(judged, number)):
        plots.save(_strange(judged, mistakes, "False alarms and misses, with class and score"), folder / "mistakes.svg")
    plots.save(_errors(judged), folder / "errors.svg")
    plots.save(_codes(judged), folder / "codes.svg")
    if best_epoch is not None:
        plots.save(plots.losses(_columns(history), best_epoch), folder / "losses.svg")


def _reconstructions(judged: Judged, number: int) -> Figure:
    """Normal records from the best to the worst reconstructed, evenly by rank, so that none is picked for its looks."""
    if not judged.model.item.is_image:
        return _columns_of(judged)
    normal = np.flatnonzero(~judged.anomalous)
    ranked = normal[np.argsort(judged.scores[normal], kind="stable")]
    rows = ranked[np.unique(np.linspace(0, len(ranked) - 1, number).round().astype(int))]
    title = "Normal records, best to worst, with class and score"
    return plots.images(*_pair(judged, rows), title, _captions(judged, rows), judged.anomalous[rows])


def _anomalies(judged: Judged, number: int) -> Figure:
    """The strangest records of all, true anomalies or not."""
    rows = np.argsort(-judged.scores, kind="stable")[:number]
    return _strange(judged, rows, "Strangest records, with class and score")


def _mistakes(judged: Judged, number: int) -> np.ndarray:
    """Rows of the strangest false alarms, then of the least strange misses, up to half of `number` each."""
    if not judged.anomalous.any():  # without a known anomaly nothing says that an alarm is false
        return np.empty(0, np.intp)
    false_alarms = np.flatnonzero(~judged.anomalous & judged.alarms)
    misses = np.flatnonzero(judged.anomalous & ~judged.alarms)
    false_alarms = false_alarms[np.argsort(-judged.scores[false_alarms], kind="stable")]
    misses = misses[np.argsort(judged.scores[misses], kind="stable")]
    return np.concatenate([false_alarms[: number // 2], misses[: number // 2]])


def _strange(judged: Judged, rows: np.ndarray, title: str) -> Figure:
    """Chosen records and what in them makes their scores."""
    captions, anomalous = _captions(judged, rows), judged.anomalous[rows]
    if judged.columns:
        parts = np.concatenate(list(_contributions(judged, rows)))
        return table_plots.strangest(parts, _names(judged), captions, anomalous, title)
    if judged.model.item.is_image:
        heat = np.concatenate([parts.numpy() for parts in _raw_contributions(judged, rows)])
        return plots.images(*_pair(judged, rows), title, captions, anomalous, _finite(heat))
    return plots.strips(*_pair(judged, rows), title, captions, anomalous)


def _explained(judged: Judged) -> Figure:
    kinds = (np.flatnonzero(~judged.alarms), np.flatnonzero(judged.alarms))
    calm, alarmed = (_mean(_contributions(judged, rows), len(rows)) if len(rows) else None for rows in kinds)
    return table_plots.explained(calm, alarmed, _names(judged))


def _contributions(judged: Judged, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Parts of the score (row, column) float64, a batch at a time; what is no number shows as zero."""
    of, count = torch.tensor(column_of(judged.columns)), len(judged.columns)
    for whole in _raw_contributions(judged, rows):
        yield _finite(by_column(whole, of, count).numpy())


def _raw_contributions(judged: Judged, rows: np.ndarray) -> Iterator[torch.Tensor]:
    """Parts of the score (row, *item), a batch at a time."""
    for batch in reconstruct(judged.model, judged.scale, judged.records, rows):
        with torch.no_grad():  # not around the yield, which would leave it to the caller
            parts = judged.detector.contributions(batch.x, batch.x_hat, batch.code)
        yield parts


def _finite(values: np.ndarray) -> np.ndarray:
    """The same in float64; what is no number is zero."""
    return np.nan_to_num(values.astype(np.float64), nan=0, posinf=0, neginf=0)


def _mean(parts: Iterator[np.ndarray], records: int) -> np.ndarray:
    """Mean over the records of all parts (record, column): (column,)."""
    return np.sum([part.sum(0) for part in parts], 0) / records


def _names(judged: Judged) -> list[str]:
    return [column.name for column in judged.columns]


def _captions(judged: Judged, rows: np.ndarray) -> list[str]:
    """Class and score; long names are cut to what fits under a picture."""
    names = [judged.classes[row] for row in rows]
    short = [f"{name if len(name) <= 9 else name[:8] + '…'}: " if name else "" for name in names]
    return [f"{name}{judged.scores[row]:.2g}" for name, row in zip(short, rows, strict=True)]


def _errors(judged: Judged) -> Figure:
    scores, alarms = judged.scores.astype(np.float64), judged.alarms
    kinds = {"normal": ~judged.anomalous, "anomalous": judged.anomalous}
    labels = {name: f"{name}: {alarms[of].mean():.1%} of {of.sum():,} alarm" for name, of in kinds.items() if of.any()}
    return plots.errors(
        {labels[name]: scores[kinds[name]] for name in labels}, judged.calibration.threshold, judged.detector.meaning
    )


def _codes(judged: Judged) -> Figure:
    """The two directions in which codes vary most; a code of one number stands beside the score instead."""
    rows = np.arange(0, len(judged.records), -(-len(judged.records) // _MOST_CODES))
    codes = np.concatenate(
        [batch.code.numpy() for batch in reconstruct(judged.model, judged.scale, judged.records, rows)]
    )
    finite = np.isfinite(codes).all(1) & np.isfinite(judged.scores[rows])
    rows, codes = rows[finite], codes[finite].astype(np.float64)
    scores, classes = judged.scores[rows], [judged.classes[row] for row in rows]
    if codes.shape[1] == 1:
        points, names = np.column_stack([codes[:, 0], scores]), ("code", "score")
    else:
        points, shares = _leading_plane(codes)
        names = tuple(f"direction {i + 1} ({share:.0%} of the variance)" for i, share in enumerate(shares))
    titles = [f"record {row}, {caption}" for row, caption in zip(rows, _captions(judged, rows), strict=True)]
    return plots.codes(points, names, classes, judged.anomalous[rows], titles)


def _leading_plane(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes (record, code) -> points (record, 2) in the leading plane, and its two shares of the variance."""
    centred = codes - codes.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    leading = vectors[:, ::-1][:, :2]
    # eigenvectors have no sign of their own: let the largest entry be positive, so that pictures repeat
    leading = leading * np.sign(leading[np.abs(leading).argmax(0), (0, 1)])
    return centred @ leading, values[::-1][:2] / max(values.sum(), 1e-300)


def _columns_of(judged: Judged) -> Figure:
    kinds = (np.flatnonzero(~judged.anomalous), np.flatnonzero(judged.anomalous))
    normal, anomalous = (_mean(_squares(judged, rows), len(rows)) if len(rows) else None for rows in kinds)
    return plots.columns(normal, anomalous)


def _squares(judged: Judged, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Squared errors (row, column), a batch at a time."""
    return (np.square(x_hat - x) for x, x_hat in _pairs(judged, rows))


def _pair(judged: Judged, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scaled records and their reconstructions, (row, *item) float64 each; what is no number shows as zero."""
    x, x_hat = zip(*_pairs(judged, rows), strict=True)
    return np.concatenate(x), np.concatenate(x_hat)


def _pairs(judged: Judged, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The same, a batch at a time."""
    for batch in reconstruct(judged.model, judged.scale, judged.records, rows):
        yield batch.x.numpy().astype(np.float64), _finite(batch.x_hat.numpy())


def _columns(history: Path) -> dict[str, list[float]]:
    with history.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}

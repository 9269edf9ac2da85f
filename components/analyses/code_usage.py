"""Code usage: how much of the code is really used, and by how many units at a time.

Effective rank, population and lifetime sparsity: see `components.analysing.measures`. A unit is used where it varies at
least a hundredth as much as the one that varies most; it speaks for a record where its magnitude is at least a
hundredth of its own largest.
"""

import numpy as np

from components.analyses import AnalysisEntry, AnalysisParams, NotApplicableError
from components.analysing.measures import effective_rank, sparsity, variance_shares
from components.analysing.outcome import Outcome, Picture, Table
from components.analysing.subject import Sample, Subject, spaced_rows
from components.comparing.wording import number, percent, ratio
from components.reporting.analysis_plots import Axis, curves, heat_map

_UNUSED = 0.01
_SHOWN = 40  # records in the heat map where there are no classes


class Params(AnalysisParams):
    """Nothing to set."""


def run(_: Params, subject: Subject) -> Outcome:
    """Measure the codes of the normal test records.

    Raises:
        NotApplicableError: there are fewer than two.
    """
    sample = subject.usual
    if len(sample) < 2:
        raise NotApplicableError("there are fewer than two normal test records")
    spaces = sample.spaces()
    code, pca = spaces["code"], spaces["PCA"]
    deviation, magnitude = code.std(0), np.abs(code)
    used = deviation > _UNUSED * max(deviation.max(), 1e-12)
    speaks = (magnitude >= _UNUSED * magnitude.max(0)) & (magnitude > 0)
    numbers = {
        "units": code.shape[1],
        "effective_rank": effective_rank(code),
        "effective_rank_pca": effective_rank(pca),
        "unused_units": int((~used).sum()),
        "active_share": float(speaks.mean()),
        "population_sparsity": float(sparsity(code, 1).mean()),
        "lifetime_sparsity": float(sparsity(code, 0).mean()),
    }
    units = {
        "unit": list(range(code.shape[1])),
        "mean": code.mean(0).tolist(),
        "deviation": deviation.tolist(),
        "active_share": speaks.mean(0).tolist(),
        "lifetime_sparsity": sparsity(code, 0).tolist(),
    }
    shares = {name: variance_shares(values) for name, values in (("code", code), ("PCA", pca))}
    answer = (
        f"Of {code.shape[1]} units {numbers['unused_units']} are unused; the codes spread over as many directions as "
        f"{number(numbers['effective_rank'])} equal ones would give (PCA: {number(numbers['effective_rank_pca'])}). "
        f"A unit speaks for {percent(numbers['active_share'])} of the records; sparsity is "
        f"{ratio(numbers['population_sparsity'])} over units and {ratio(numbers['lifetime_sparsity'])} over records."
    )
    spectrum = curves(
        "Variance of codes along their directions",
        Axis("direction, the largest first", counts=True),
        Axis("share of the variance"),
        {name: (list(range(1, len(of) + 1)), of.tolist()) for name, of in shares.items()},
    )
    return Outcome(
        answer,
        numbers,
        {
            "code_usage_units": Table.of_columns("Units of the code", units),
            "code_usage_spectrum": Table.of_columns(
                "Variance along directions",
                {"direction": list(range(1, len(shares["code"]) + 1))}
                | {name: of.tolist() for name, of in shares.items()},
            ),
        },
        {
            "code_usage_spectrum": Picture(
                spectrum,
                "A flat line uses all directions alike.",
                f"The first direction holds {percent(shares['code'][0])} of the variance of codes, "
                f"{percent(shares['PCA'][0])} of PCA's.",
            ),
            "code_usage_activations": _activations(sample, code, deviation, subject.classes),
        },
    )


def _activations(sample: Sample, code: np.ndarray, deviation: np.ndarray, classes: object) -> Picture:
    """Units over classes, or over single records where there are no labels, in deviations from each unit's mean."""
    standard = (code - code.mean(0)) / np.where(deviation > 0, deviation, 1)
    labels = [label for label in np.unique(sample.labels) if label >= 0]
    if labels:
        names = [classes[label] for label in labels]
        values = np.stack([standard[sample.labels == label].mean(0) for label in labels])
        told = "Mean activation of each unit for the records of each class"
    else:
        rows = spaced_rows(len(standard), _SHOWN)
        names, values, told = [], standard[rows], f"Activation of each unit for {len(rows)} records"
    figure = heat_map("Activations", "unit", names, values)
    row, unit = np.unravel_index(np.abs(values).argmax(), values.shape)
    strongest = f"the farthest from its mean is unit {unit}, for {names[row] if names else f'record {row}'}"
    return Picture(figure, f"{told}.", f"{told}; {strongest}, by {values[row, unit]:+.1f} deviations.")


ANALYSIS = AnalysisEntry(
    run, Params, "Use of the code", "How much of the code is used, and by how many units at a time?"
)

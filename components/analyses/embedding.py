"""Embedding: two views of the codes in the plane, for the eye.

Papers: van der Maaten and Hinton, "Visualizing Data using t-SNE", JMLR 9, 2008; McInnes, Healy and Melville, "UMAP",
2018. Both start from the plane of the two principal components, as Kobak and Linderman advise (Nature Biotechnology 39,
2021), with a fixed seed and one thread, so that they repeat.
Limits: distances between groups and sizes of groups mean nothing in such views, and groups may be made by the method.
"""

import os
import warnings

import numpy as np
from pydantic import Field

from components.analyses import AnalysisEntry, AnalysisParams, NotApplicableError
from components.analysing.outcome import Outcome, Picture, Table
from components.analysing.subject import Subject
from components.comparing.wording import ratio
from components.reporting.analysis_plots import view

_FEWEST = 10
_KEPT = 5  # neighbours by which a view is said to be faithful


class Params(AnalysisParams):
    """What the two methods are told."""

    perplexity: float = Field(30.0, ge=1, le=1000)
    """Of t-SNE: neighbours that a record looks at, roughly; at most a third of the records."""
    neighbours: int = Field(15, ge=2, le=1000)
    """Of UMAP."""
    records: int = Field(2000, ge=_FEWEST, le=100_000)
    """Test records, evenly spaced."""


def run(params: Params, subject: Subject) -> Outcome:
    """View the codes of test records, anomalous ones included.

    Raises:
        NotApplicableError: there are too few records, or codes are a single number.
    """
    from sklearn.manifold import trustworthiness

    sample = subject.test.spaced(params.records)
    if len(sample) < _FEWEST:
        raise NotApplicableError(f"{len(sample)} test records are too few for a view")
    code = sample.code.numpy()
    if code.shape[1] == 1:
        raise NotApplicableError("a code of one number is its own view")
    views = {"t-SNE": tsne(code, params.perplexity, subject.seed), "UMAP": umap(code, params.neighbours, subject.seed)}
    classes = [subject.classes[label] if label >= 0 else "" for label in sample.labels]
    kept = {name: float(trustworthiness(code, points, n_neighbors=min(_KEPT, (len(code) - 1) // 2)))
            for name, points in views.items()}  # fmt: skip
    columns = {"class": classes, "is_anomalous": sample.anomalous.astype(int).tolist()}
    stem = {name: name.lower().replace("-", "") for name in views}
    for name, points in views.items():
        columns |= {f"{stem[name]}_{axis}": points[:, i].astype(float).tolist() for i, axis in enumerate("xy")}
    shown = f"{len(code)} codes of test records, with names of classes at their medians"
    return Outcome(
        answer=f"Two views of {len(code)} codes; their trustworthiness is "
        f"{' and '.join(f'{ratio(value)} ({name})' for name, value in kept.items())}.",
        numbers={f"trustworthiness_{stem[name]}": value for name, value in kept.items()},
        tables={"embedding": Table.of_columns("Where each record stands", columns)},
        pictures={
            f"embedding_{stem[name]}": Picture(
                view(name, points, classes, sample.anomalous),
                "Distances between groups mean nothing here.",
                f"{shown}, by {name}; trustworthiness {ratio(kept[name])}.",
            )
            for name, points in views.items()
        },
    )


def tsne(code: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
    """Codes (record, unit) -> points (record, 2)."""
    from sklearn.manifold import TSNE

    method = TSNE(2, perplexity=min(perplexity, (len(code) - 1) / 3), init="pca", random_state=seed, n_jobs=1)
    return method.fit_transform(code)


def umap(code: np.ndarray, neighbours: int, seed: int) -> np.ndarray:
    """Codes (record, unit) -> points (record, 2)."""
    os.environ["NUMBA_NUM_THREADS"] = "1"  # read when numba is first imported; idle threads of its pool would spin
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # of a part that needs TensorFlow
        from umap import UMAP

    method = UMAP(n_neighbors=min(neighbours, len(code) - 1), init="pca", random_state=seed, n_jobs=1)
    return method.fit_transform(code)


ANALYSIS = AnalysisEntry(
    run, Params, "Views of the codes", "How do codes lie to each other, as far as a plane can show?"
)

"""Areas under ROC curves of several models on the same records, with the covariance of their estimates.

Paper: DeLong, DeLong and Clarke-Pearson, "Comparing the Areas under Two or More Correlated Receiver Operating
Characteristic Curves", Biometrics 44, 1988. An area is a mean of placements, a record's share of the other kind on its
right side; so the covariance of areas is that of placements, in closed form.
"""

from dataclasses import dataclass

import numpy as np

from components.scoring.metrics import rankable


@dataclass(frozen=True)
class Scored:
    """Records of one split and their scores by each candidate."""

    anomalous: np.ndarray
    """(record,) bool."""
    scores: np.ndarray
    """(record, model), higher is stranger."""

    @property
    def rankable(self) -> bool:
        """Whether there are enough records of both kinds for an area under the curve and its spread."""
        return min(self.anomalous.sum(), (~self.anomalous).sum()) >= 2


@dataclass(frozen=True)
class Placements:
    """How well each record is placed by each model, 0..1; an area is the mean of either."""

    normal: np.ndarray
    """(normal record, model): the share of anomalous records that score higher, ties half."""
    anomalous: np.ndarray
    """(anomalous record, model): the share of normal records that score lower, ties half."""

    @property
    def areas(self) -> np.ndarray:
        """AUROC of each model (model,)."""
        return self.anomalous.mean(0)

    @property
    def covariance(self) -> np.ndarray:
        """Of the estimates of the areas (model, model); two records of each kind at least."""
        return sum(np.atleast_2d(np.cov(kind.T)) / len(kind) for kind in (self.normal, self.anomalous))


def place(scored: Scored) -> Placements:
    """The placements of records of which both kinds are there."""
    scores = rankable(scored.scores)
    normal, anomalous = scores[~scored.anomalous].T, scores[scored.anomalous].T
    pairs = list(zip(normal, anomalous, strict=True))
    return Placements(
        normal=np.stack([1 - _share_below(calm, strange) for calm, strange in pairs], axis=1),
        anomalous=np.stack([_share_below(strange, calm) for calm, strange in pairs], axis=1),
    )


def _share_below(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each score the share of `others` below it, an equal one counting half. Shapes: (n,), (m,) -> (n,)."""
    others = np.sort(others)
    return (np.searchsorted(others, scores, "left") + np.searchsorted(others, scores, "right")) / (2 * len(others))

"""How far a code lies outside of the region that holds most training codes: a one-class support vector machine.

Paper: Schölkopf et al., "Estimating the Support of a High-Dimensional Distribution", Neural Computation 13, 2001.
The fit is scikit-learn's, on standardised codes; the graph holds its support vectors.
Limits: the kernel is zero far from all codes, so that far records tie at the largest score.
Contributions: the score spread over the difference between the reconstruction and that of the middle code.
"""

import torch
from pydantic import Field
from torch import Tensor

from components.scores import Decode, Score, ScoreEntry, ScoreParams, Seen, State, spread


class Params(ScoreParams):
    """The region."""

    nu: float = Field(0.1, gt=0, le=1)
    """Share of the training codes that may lie outside."""
    gamma: float | None = Field(None, gt=0)
    """Width of the kernel exp(-gamma |a - b|^2) between standardised codes; null is 1 / code size."""
    memory: int = Field(2000, ge=2, le=100_000)
    """Training codes fitted to, a random subset where there are more; the fit's time grows with their square."""


class OneClassSVM(Score):
    """1 - the decision function over its largest possible value: between 0 and 1."""

    meaning = "1 - one-class SVM of the code"

    def forward(self, x: Tensor, x_hat: Tensor, code: Tensor) -> Tensor:
        """See `Score`."""
        del x, x_hat
        mine = (code - self.mean) * self.inverse_deviation
        squared = (mine[:, None] - self.vectors).square().sum(2)
        return 1 - torch.exp(-self.gamma * squared) @ self.weights

    def contributions(self, x: Tensor, x_hat: Tensor, code: Tensor, decode: Decode) -> Tensor:
        """See `Score`."""
        return spread(self(x, x_hat, code), (x_hat - decode(self.mean[None])).square())


def _fit(params: Params, train: Seen, validation: Seen, seed: int) -> State:
    from sklearn.svm import OneClassSVM as Machine

    del validation
    rows = torch.randperm(len(train.code), generator=torch.Generator().manual_seed(seed))[: params.memory]
    code = train.code[rows].double()
    mean, deviation = code.mean(0), code.std(0).clamp(min=1e-6)
    gamma = params.gamma or 1 / code.shape[1]
    machine = Machine(nu=params.nu, gamma=gamma).fit(((code - mean) / deviation).numpy())
    weights = torch.from_numpy(machine.dual_coef_[0])
    state = {
        "mean": mean,
        "inverse_deviation": 1 / deviation,
        "vectors": torch.from_numpy(machine.support_vectors_),
        "weights": weights / weights.sum(),
        "gamma": torch.tensor(gamma),
    }
    return {name: value.float().contiguous() for name, value in state.items()}


SCORE = ScoreEntry(OneClassSVM, Params, "one-class support vector machine on codes", _fit)

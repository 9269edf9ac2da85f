"""The rank of a score among sorted ones, as torch operations that export: no branch, no broadcasting."""

import torch
from torch import Tensor, nn


def padded(reference: Tensor) -> Tensor:
    """Sorted scores (n,), filled up to 2^k - 1 entries, k = ceil(log2(n + 1)), so that halving takes exactly k looks.

    No score passes the padding.
    """
    return torch.cat(
        [reference, reference.new_full((2 ** len(reference).bit_length() - 1 - len(reference),), torch.inf)]
    )


class Ranks(nn.Module):
    """Counts the reference scores that reach a score, by a binary search unrolled to ceil(log2(n + 1)) looks.

    Broadcasting every score against every reference costs more than the network. NaN counts as above everything, as in
    numpy's order.

    Args:
        reference: ascending (n,) float32.
    """

    def __init__(self, reference: Tensor) -> None:
        super().__init__()
        self.n = len(reference)
        self.looks = self.n.bit_length()
        self.register_buffer("reference", padded(reference))

    def reaching(self, score: Tensor) -> Tensor:
        """#{reference >= score}. Shapes: (batch,) -> (batch,) int64."""
        below = torch.zeros_like(score, dtype=torch.int64)
        for look in reversed(range(self.looks)):
            step = 2**look
            probe = torch.gather(self.reference, 0, below + (step - 1))
            # asked this way round, NaN goes above everything
            below = torch.where(probe >= score, below, below + step)
        return (self.n - below).clamp(min=0)

    def forward(self, score: Tensor) -> Tensor:
        """P = (1 + #{reference >= score}) / (n + 1). Shapes: (batch,) -> (batch,) float32."""
        return (1 + self.reaching(score)).to(torch.float32) / (self.n + 1)

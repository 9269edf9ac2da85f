"""The rank of a score among sorted ones, as torch operations that export: no branch, two looks whatever the number.

The sorted scores stand in rows of about the square root of their number. The first look counts the rows whose largest
score reaches the one asked for, the second counts inside the last of these rows: a dozen small operations, where a
binary search needs five for each halving and comparing with every score costs more than the network.
"""

import math

import torch
from torch import Tensor, nn


def in_rows(reference: Tensor) -> tuple[Tensor, Tensor]:
    """Ascending scores (n,) as what `Ranks` looks at.

    Returns the largest score of each row (row,), descending, and the rows (1 + row, width): in front one of infinities,
    which is where a score is looked for that no row reaches. The last row is filled up with what reaches nothing.
    """
    n = len(reference)
    width = math.isqrt(n - 1) + 1
    rows = -(-n // width)
    filled = torch.cat([reference.new_full((rows * width - n,), -torch.inf), reference])
    table = filled.flip(0).reshape(rows, width)
    return table[:, 0].contiguous(), torch.cat([reference.new_full((1, width), torch.inf), table])


class Ranks(nn.Module):
    """Counts the reference scores that reach a score. NaN counts as above everything, as in numpy's order.

    Args:
        reference: ascending (n,) float32, at least one.
    """

    def __init__(self, reference: Tensor) -> None:
        super().__init__()
        self.n = len(reference)
        largest, rows = in_rows(reference)
        self.width = rows.shape[1]
        self.register_buffer("largest", largest)
        self.register_buffer("rows", rows)

    def reaching(self, score: Tensor) -> Tensor:
        """#{reference >= score}. Shapes: (batch,) -> (batch,) int64."""
        asked = score[:, None]
        reached = (self.largest >= asked).sum(1)
        within = (self.rows.index_select(0, reached) >= asked).sum(1)
        # the row of infinities counts as a whole for numbers and not at all for NaN, which reaches -width so
        return (reached * self.width + within - self.width).clamp(0, self.n)

    def forward(self, score: Tensor) -> Tensor:
        """P = (1 + #{reference >= score}) / (n + 1). Shapes: (batch,) -> (batch,) float32."""
        return (1 + self.reaching(score)).to(torch.float32) / (self.n + 1)

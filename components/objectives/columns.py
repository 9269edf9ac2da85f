"""The loss of tables: every column counts the same, however many features stand for it."""

from collections.abc import Sequence

import torch
from torch import Tensor


def softmax_groups(logits: Tensor, groups: Sequence[tuple[int, int]]) -> Tensor:
    """Probabilities for the values of each group, the others as they are. Shapes: (batch, value) both."""
    parts, done = [], 0
    for start, stop in groups:
        parts += [logits[:, done:start], torch.softmax(logits[:, start:stop], 1)]
        done = stop
    return torch.cat([*parts, logits[:, done:]], 1)


def column_loss(logits: Tensor, target: Tensor, groups: Sequence[tuple[int, int]]) -> Tensor:
    """Mean over the columns of each record (batch,): half the squared error of a number, which is the negative
    log-likelihood of a Gaussian of unit variance up to a constant, and the cross-entropy of a column of levels.
    """
    is_number = torch.ones(logits.shape[1], dtype=torch.bool, device=logits.device)
    total = torch.zeros(len(logits), device=logits.device)
    for start, stop in groups:
        is_number[start:stop] = False
        total = total - (target[:, start:stop] * torch.log_softmax(logits[:, start:stop], 1)).sum(1)
    total = total + (logits - target).square().mul(is_number).sum(1) / 2
    return total / (len(groups) + is_number.sum())

"""Which segments belong to one discontinuous entity."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["LinkScorer", "neighbours", "walks"]

_MOST_WALKS = 64
"""Ways through the links of one context and label that are followed; a trained model has a handful."""


class LinkScorer(nn.Module):
    """Scores whether one segment is followed by another in a discontinuous entity, for each of L labels.

    From the vectors of both, what stands between them, and how much of it.
    """

    def __init__(self, hidden: int, max_gap: int, labels: int, dropout: float) -> None:
        super().__init__()
        self.left = nn.Linear(hidden, hidden)
        self.right = nn.Linear(hidden, hidden, bias=False)
        self.between = nn.Linear(hidden, hidden, bias=False)
        self.gap = nn.Parameter(torch.randn(max_gap, hidden) * 0.02)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, labels)
        nn.init.constant_(self.output.bias, math.log(0.05 / 0.95))

    def forward(self, left: Tensor, right: Tensor, between: Tensor, gap: Tensor) -> Tensor:
        """Return scores (P, L) for pairs of spans from their vectors and of the ``gap`` (P,) units between them.

        Vectors have the shape (P, H).
        """
        summed = self.left(left) + self.right(right) + self.between(between) + self.gap[gap - 1]
        scores: Tensor = self.output(self.dropout(F.gelu(summed)))
        return scores.float()


def neighbours(starts: Tensor, stops: Tensor, context: Tensor, max_gap: int) -> tuple[Tensor, Tensor]:
    """Return the pairs (left, right) of F spans, by index, with 1 to ``max_gap`` units of one context between.

    ``starts`` and ``stops`` count through all contexts of a batch. Two tensors (P,).
    """
    order = starts.argsort(stable=True)
    sorted_starts = starts[order]
    low = torch.searchsorted(sorted_starts, stops + 1)
    high = torch.searchsorted(sorted_starts, stops + max_gap, right=True)
    counts = high - low
    left = torch.repeat_interleave(torch.arange(len(starts), device=starts.device), counts)
    first = torch.repeat_interleave(low - (counts.cumsum(0) - counts), counts)
    right = order[first + torch.arange(len(left), device=starts.device)]
    same = context[left] == context[right]
    return left[same], right[same]


def walks(links: list[tuple[int, int, float]]) -> list[tuple[tuple[int, ...], float]]:
    """Return the longest walks along links (left, right, probability), with the product of their probabilities.

    >>> walks([(0, 2, 0.5), (1, 2, 1.0), (2, 3, 0.5)])
    [((0, 2, 3), 0.25), ((1, 2, 3), 0.5)]
    """
    onward: dict[int, list[tuple[int, float]]] = {}
    for left, right, probability in links:
        onward.setdefault(left, []).append((right, probability))
    reached = {right for _, right, _ in links}
    sources = sorted(onward.keys() - reached, reverse=True)
    pending: list[tuple[tuple[int, ...], float]] = [((node,), 1.0) for node in sources]
    found: list[tuple[tuple[int, ...], float]] = []
    while pending and len(found) < _MOST_WALKS:
        walk, product = pending.pop()
        ways = onward.get(walk[-1])
        if ways is None:
            found.append((walk, product))
        else:
            pending += [((*walk, node), product * probability) for node, probability in reversed(ways)]
    return found

"""Vectors and scores of spans."""

from __future__ import annotations

import math

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

__all__ = ["Parts", "SpanScorer"]

_PRIOR = 0.01
"""Probability that a new head gives to any span (Lin et al. 2017, section 4.1): else the many negatives of the first
steps drown the rest."""
_BLOCK = 4_000_000
"""Numbers in the span vectors, or scores, of a block: 16 MB in float32."""


@attrs.frozen(eq=False)
class Parts:
    """What the units give to the spans that they are in. N units of all contexts, one after the other."""

    start: Tensor
    """Shape (N, H)."""
    end: Tensor
    """Shape (N, H)."""
    sums: Tensor
    """Running sum of what a unit inside gives, float64. Shape (N + 1, H)."""

    def mean(self, starts: Tensor, lengths: Tensor) -> Tensor:
        """Return the mean of what the units inside give, from first units and lengths of one shape (...). (..., H)."""
        return (self.sums[starts + lengths] - self.sums[starts]).float() / lengths[..., None]


class SpanScorer(nn.Module):
    r"""Scores spans of up to W units for C channels.

    The vector of units i to j is $\mathrm{gelu}(A x_i + B x_j + C \bar{x}_{i..j} + e_{j-i})$, its scores a linear
    layer above it. The products are taken once a unit; what is left a span is a sum. Spans are taken in blocks of
    units, whose vectors are made again for the gradient when there is more than one block, so that memory does not
    grow with N · W · H.
    """

    def __init__(self, input_size: int, hidden: int, max_length: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.max_length = max_length
        self.dropout = nn.Dropout(dropout)
        self.start = nn.Linear(input_size, hidden)
        self.end = nn.Linear(input_size, hidden, bias=False)
        self.inside = nn.Linear(input_size, hidden, bias=False)
        self.length = nn.Parameter(torch.randn(max_length, hidden) * 0.02)
        self.output = nn.Linear(hidden, channels)
        nn.init.constant_(self.output.bias, math.log(_PRIOR / (1 - _PRIOR)))

    def parts(self, vectors: Tensor) -> Parts:
        """Return what vectors (N, D) give to spans."""
        vectors = self.dropout(vectors)
        inside = F.pad(self.inside(vectors).double().cumsum(0), (0, 0, 1, 0))
        return Parts(self.start(vectors).float(), self.end(vectors).float(), inside)

    def vectors(self, parts: Parts, starts: Tensor, lengths: Tensor) -> Tensor:
        """Return the vectors of spans, from their first units and lengths of one shape (...). Shape (..., H).

        Sums are taken in float32; the vectors have the type of the weights that they are given to.
        """
        ends = parts.end[starts + lengths - 1]
        summed = parts.start[starts] + ends + parts.mean(starts, lengths) + self.length[lengths - 1]
        dropped: Tensor = self.dropout(F.gelu(summed))
        return dropped.to(self.length.dtype)

    def blocks(self, n_units: int) -> list[tuple[int, int]]:
        """Return the blocks of N units whose spans are scored at once."""
        size = max(1, _BLOCK // (self.max_length * max(self.output.weight.shape)))
        return [(start, min(start + size, n_units)) for start in range(0, n_units, size)]

    def forward(self, parts: Parts, start: int, stop: int) -> Tensor:
        """Return the scores of the spans that begin at units ``start`` to ``stop``. Shape (stop - start, W, C).

        Spans that reach beyond the last unit are cut there; what they score means nothing.
        """
        first = torch.arange(start, stop, device=parts.start.device)[:, None]
        lengths = torch.arange(1, self.max_length + 1, device=first.device).expand(len(first), -1)
        vectors = self.vectors(parts, first, torch.minimum(lengths, len(parts.start) - first))
        scores: Tensor = self.output(vectors)
        return scores.float()

    def frugal(self, parts: Parts, start: int, stop: int) -> Tensor:
        """Return the same scores, keeping no span vectors for the gradient."""
        scores: Tensor = checkpoint(
            lambda *given: self(Parts(*given), start, stop), parts.start, parts.end, parts.sums, use_reentrant=False
        )
        return scores

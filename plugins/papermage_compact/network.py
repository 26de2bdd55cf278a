"""The layers of the compact encoder. They work on units of all windows in a row, so that padding costs nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

__all__ = ["BlockDropout", "GatedConvolution", "LineReader", "Neighbours", "RepetitionReader"]


class Neighbours:
    """The units (or lines) around each of N in its window; made once a batch, used by every layer.

    ``before`` and ``after`` count the units before and after it in the same window. Shapes (N,).
    """

    def __init__(self, before: torch.Tensor, after: torch.Tensor) -> None:
        self._before = before
        self._after = after
        self._masks: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.count = before.shape[0]  # no len(), which torch.export takes for a constant

    def of(self, x: torch.Tensor, distance: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what stands ``distance`` before and after each unit, zero beyond its window. Shapes (N, D)."""
        has_before, has_after = self.exist(distance)
        before = F.pad(x, (0, 0, distance, 0))[: x.shape[0]] * has_before
        after = F.pad(x, (0, 0, 0, distance))[distance:] * has_after
        return before, after

    def exist(self, distance: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return which units have one ``distance`` before, and which one after them, in their window. Shapes (N, 1)."""
        if distance not in self._masks:
            self._masks[distance] = (
                (self._before >= distance).unsqueeze(1),
                (self._after >= distance).unsqueeze(1),
            )
        return self._masks[distance]


class BlockDropout(nn.Module):
    """Dropout whose mask is the same for each ``block`` rows that follow each other.

    Neighbouring units lose the same values, as in variational dropout (Gal and Ghahramani, 2016), and random numbers,
    an eighth of the time of a training step if drawn one a value, cost little.
    """

    def __init__(self, share: float, block: int = 8) -> None:
        super().__init__()
        self.share = share
        self.block = block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x, (N, D), with values zeroed in training and the others scaled to make up for them."""
        if not self.training or not self.share:
            return x
        kept = _drawn(-(-len(x) // self.block), x.shape[1], self.share, x.device)
        found: torch.Tensor = _ByBlocks.apply(x, kept.to(x.dtype) / (1 - self.share), self.block)  # type: ignore[no-untyped-call]
        return found


def _drawn(rows: int, size: int, share: float, device: torch.device) -> torch.Tensor:
    """Return where ``share`` of the values is False, at random; four values share a random number, 16 bits each."""
    n = rows * size
    drawn = torch.empty(-(-n // 4), dtype=torch.int64, device=device).random_(-(1 << 63), None).view(torch.int16)
    bound = min(round(share * (1 << 16)), (1 << 16) - 1) - (1 << 15)  # a share of nearly one is none of 16 bits
    return drawn[:n].view(rows, size) >= bound


class _ByBlocks(torch.autograd.Function):
    """Multiplies each ``block`` rows of x, (N, D), by a row of factors, without writing these out for every row."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, factors: torch.Tensor, block: int) -> torch.Tensor:
        ctx.save_for_backward(factors)
        ctx.block = block
        return _by_blocks(x, factors, block)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (factors,) = ctx.saved_tensors
        return _by_blocks(gradient, factors, ctx.block), None, None


def _by_blocks(x: torch.Tensor, factors: torch.Tensor, block: int) -> torch.Tensor:
    if block == 1:
        return x * factors
    whole = len(x) // block * block
    x, out = x.contiguous(), torch.empty_like(x, memory_format=torch.contiguous_format)
    shape = (whole // block, block, x.shape[1])
    torch.mul(x[:whole].view(shape), factors[: whole // block].unsqueeze(1), out=out[:whole].view(shape))
    torch.mul(x[whole:], factors[-1:], out=out[whole:])
    return out


class GatedConvolution(nn.Module):
    """A residual convolution of width three with a gated linear unit (Dauphin et al., 2017), normalized before.

    With y = norm(x) and dilation d, gives ``x + dropout(glu(W [y₋d; y; y₊d]))``.
    """

    def __init__(self, width: int, dropout: float, *, dilation: int = 1) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(3 * width, 2 * width)
        self.dropout = BlockDropout(dropout)
        self.dilation = dilation

    def forward(self, x: torch.Tensor, neighbours: Neighbours) -> torch.Tensor:
        """Return new vectors of the units. Shapes (N, D)."""
        y = self.norm(x)
        before, after = neighbours.of(y, self.dilation)
        changed: torch.Tensor = self.dropout(F.glu(self.linear(torch.cat([before, y, after], 1))))
        return x + changed


class LineReader(nn.Module):
    """Reads a page line by line: the mean of each line's units, convolved over the lines, given back to its units."""

    def __init__(self, width: int, dilations: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(GatedConvolution(width, dropout, dilation=dilation) for dilation in dilations)
        self.linear = nn.Linear(width, width)
        self.dropout = BlockDropout(dropout)

    def forward(self, x: torch.Tensor, line: torch.Tensor, neighbours: Neighbours) -> torch.Tensor:
        """Return new vectors of the units; ``line`` (N,) is the line of each, ``neighbours`` are those of the lines."""
        y = self.norm(x)
        sums = y.new_zeros(neighbours.count, y.shape[1]).index_add(0, line, y)
        sizes = y.new_zeros(neighbours.count, 1).index_add(0, line, y.new_ones(line.shape[0], 1))
        lines = sums / sizes
        for layer in self.layers:
            lines = layer(lines, neighbours)
        given: torch.Tensor = self.dropout(self.linear(lines)).index_select(0, line)
        return x + given


class RepetitionReader(nn.Module):
    """Gives each unit the mean of the vectors of the other units of its window that have the same word.

    A mention that is clear in one sentence helps to find it in another.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)
        self.dropout = BlockDropout(dropout)

    def forward(self, x: torch.Tensor, same: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """Return new vectors of the units; ``same`` (N,) is the word of each, told apart by window.

        ``counts`` says how many units have each of these words.
        """
        y = self.norm(x)
        sums = y.new_zeros(counts.shape[0], y.shape[1]).index_add(0, same, y)
        others = (counts.index_select(0, same) - 1).clamp(min=1).unsqueeze(1)
        mean = (sums.index_select(0, same) - y) / others
        given: torch.Tensor = self.dropout(F.gelu(self.linear(mean)))
        return x + given

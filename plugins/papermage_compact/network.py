"""The layers of the compact encoder. They work on units of all windows in a row, so that padding costs nothing."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["GatedConvolution", "Places", "shift"]


class Places:
    """Where each of N units stands in its window; made once a batch, asked by every layer.

    ``before`` and ``after`` are the units before and after it in the same window. Shapes (N,).
    """

    def __init__(self, before: torch.Tensor, after: torch.Tensor) -> None:
        self.before = before
        self.after = after
        self._masks: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def masks(self, distance: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return which units have one ``distance`` before and after them. Shapes (N, 1)."""
        if distance not in self._masks:
            self._masks[distance] = (
                (self.before >= distance).unsqueeze(1),
                (self.after >= distance).unsqueeze(1),
            )
        return self._masks[distance]


def shift(x: torch.Tensor, distance: int, places: Places) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what stands ``distance`` before and after each unit, zero beyond its window. Shapes (N, D)."""
    has_before, has_after = places.masks(distance)
    n = len(x)
    before = F.pad(x, (0, 0, distance, 0))[:n] * has_before
    after = F.pad(x, (0, 0, 0, distance))[distance:] * has_after
    return before, after


class GatedConvolution(nn.Module):
    """A residual convolution of width three with a gated linear unit (Dauphin et al., 2017), normalized before.

    ``x + dropout(glu(W [x₋d; x; x₊d]))`` with dilation d.
    """

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(3 * width, 2 * width)
        self.dropout = nn.Dropout(dropout)
        self.dilation = dilation

    def forward(self, x: torch.Tensor, places: Places) -> torch.Tensor:
        """Return new vectors of the units. Shapes (N, D)."""
        y = self.norm(x)
        before, after = shift(y, self.dilation, places)
        return x + self.dropout(F.glu(self.linear(torch.cat([before, y, after], 1))))

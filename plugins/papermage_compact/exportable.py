"""The compact encoder with the operations that ONNX has."""

from __future__ import annotations

import copy
import math
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from papermage_compact.encoder import CompactEncoder

__all__ = ["ExportableCompact"]


class ExportableCompact(nn.Module):
    """Computes what `CompactEncoder` does: sums of embeddings without bags, and states of recurrences by doubling."""

    def __init__(self, encoder: CompactEncoder, max_length: int) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        for module in list(self.encoder.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.EmbeddingBag):
                    setattr(module, name, _Bags(child))
        self.encoder.words.mean_bags = mean_bags
        recurrence: Any
        for recurrence in self.encoder.recurrences:
            recurrence.scan = partial(scan_by_doubling, steps=max(1, math.ceil(math.log2(max_length))))

    def inputs(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the features, with ``place`` (windows, units of the longest): the row of each unit among all."""
        lengths = features["length"].unsqueeze(1)
        units = torch.arange(int(lengths.max())).minimum(lengths - 1)
        given = {name: value for name, value in features.items() if name not in ("length", "position")}
        return {**given, "place": lengths.cumsum(0) - lengths + units}

    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the unit vectors. Shape (windows, units of the longest, D)."""
        place = features["place"]
        read = self.encoder.read(features)
        return read.index_select(0, place.flatten()).view(*place.shape, read.shape[1])


class _Bags(nn.Module):
    """An `nn.EmbeddingBag`: sums of the rows of (T, n) indices, or means of those between ``offsets``."""

    def __init__(self, bag: nn.EmbeddingBag) -> None:
        super().__init__()
        self.weight = bag.weight

    def forward(self, rows: torch.Tensor, offsets: torch.Tensor | None = None) -> torch.Tensor:
        return F.embedding(rows, self.weight).sum(1) if offsets is None else mean_bags(rows, self.weight, offsets)


def mean_bags(rows: torch.Tensor, weight: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Return the means of the ``weight`` of ``rows`` from each of the offsets (T + 1,) to the next. Shape (T, D)."""
    counts = offsets[1:] - offsets[:-1]
    begins = torch.zeros(rows.shape[0] + 1, dtype=torch.int64).index_add(0, offsets[1:], torch.ones_like(counts))
    owner = begins.cumsum(0)[:-1]
    sums = weight.new_zeros(counts.shape[0], weight.shape[1]).index_add(0, owner, F.embedding(rows, weight))
    return sums / counts.clamp(min=1).unsqueeze(1)


def scan_by_doubling(keep: torch.Tensor, new: torch.Tensor, *, steps: int) -> torch.Tensor:
    """Return h with ``h[t] = keep[t] * h[t - 1] + new[t]``, where ``keep`` is 0 once in ``2 ** steps`` units. (N, D).

    After step k each state has what the 2 ** k units up to it give (Hillis and Steele, 1986).
    """
    for distance in (2**step for step in range(steps)):
        before, kept = (F.pad(x, (0, 0, distance, 0))[: x.shape[0]] for x in (new, keep))
        new, keep = new + keep * before, keep * kept
    return new

"""Features → vectors: of word types, of units, of positions on the page and in lines, and of metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from papermage_compact.gazetteer import PATTERNS
from papermage_compact.layout import LAYOUT_ROWS, LAYOUT_VALUES
from papermage_compact.lines import LINE_ROWS
from papermage_compact.loops import bags, can_loop
from papermage_compact.network import BlockDropout
from papermage_compact.units import UNIT_ROWS

__all__ = [
    "GazetteerEmbedding",
    "LayoutEmbedding",
    "LineEmbedding",
    "LongFormEmbedding",
    "MetadataEmbedding",
    "UnitEmbedding",
    "WordEmbedding",
]

Features = dict[str, torch.Tensor]

_SIZES = {"word": 96, "prefix": 48, "suffix": 48, "shape": 48}
_NGRAM_SIZE = 64
_UNSAID = 0.2  # share of the units of which the gazetteer says nothing in training
_HIDDEN = 0.05  # share of the windows whose metadata are hidden in training


class WordEmbedding(nn.Module):
    """Vectors of word types, from sums of hashed embeddings (Miranda et al., 2022) and from given vectors."""

    vectors: torch.Tensor | None
    mean_bags = staticmethod(partial(F.embedding_bag, mode="mean", include_last_offset=True))

    def __init__(
        self,
        rows: Mapping[str, int],
        ngram_rows: int,
        width: int,
        dropout: float,
        word_dropout: float,
        vectors: torch.Tensor | None,
        *,
        tune: bool,
    ) -> None:
        super().__init__()
        self.tables = nn.ModuleDict({group: _table(count, _SIZES[group]) for group, count in rows.items()})
        self.ngrams = _table(ngram_rows, _NGRAM_SIZE, mode="mean")
        size = sum(_SIZES.values()) + _NGRAM_SIZE
        if vectors is not None:
            size += vectors.shape[1]
        if tune and vectors is not None:
            self.vectors = nn.Parameter(vectors)
        else:
            self.register_buffer("vectors", vectors, persistent=False)  # `CompactEncoder.save` keeps them
        self.mix = nn.Linear(size, width)
        self.dropout = BlockDropout(dropout, block=1)
        self.word_dropout = word_dropout

    def forward(self, features: Features) -> torch.Tensor:
        """Return the vectors of the batch's word types. Shape (T, width)."""
        parts = {group: table(features[group]) for group, table in self.tables.items()}
        if self.training and self.word_dropout:
            identity = parts["word"]
            keep = torch.rand(len(identity), 1, device=identity.device) >= self.word_dropout
            parts["word"] = identity * keep
        parts["ngram"] = self.ngrams(features["ngram"], features["ngram_offset"])
        seen = self.dropout(torch.cat(list(parts.values()), 1))
        if self.vectors is not None:  # not dropped out: they are what unknown words have in common with known ones
            given = self.mean_bags(features["piece"], self.vectors, features["piece_offset"])
            seen = torch.cat([seen, given], 1)
        mixed: torch.Tensor = self.mix(seen)
        return F.gelu(mixed)


class LongFormEmbedding(nn.Module):
    """Vectors of what abbreviations stand for: of the last word of the long form, and of all its words."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.mix = nn.Linear(2 * sum(_SIZES.values()), width)
        self.dropout = BlockDropout(dropout, block=1)

    def forward(self, x: torch.Tensor, features: Features, tables: nn.ModuleDict) -> torch.Tensor:
        """Return the units' vectors ``x`` (N, width) with those of long forms added; ``tables`` are those of words."""
        words = torch.cat([table(features[f"long_{group}"]) for group, table in tables.items()], 1)
        owner, stop = features["long_owner"], features["long_stop"]
        sums = words.new_zeros(len(stop), words.shape[1]).index_add(0, owner, words)
        means = sums / torch.diff(stop, prepend=stop.new_zeros(1)).unsqueeze(1)
        seen = self.dropout(torch.cat([words.index_select(0, stop - 1), means], 1))
        return x.index_add(0, features["long_unit"], F.gelu(self.mix(seen)))


class UnitEmbedding(nn.Module):
    """Vectors of the features of units other than their words."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.table = _table(UNIT_ROWS, width, spread=0.1)

    def forward(self, features: Features) -> torch.Tensor:
        """Return what to add to the units' vectors. Shape (N, width)."""
        placed: torch.Tensor = self.table(features["unit"])
        return placed


class LayoutEmbedding(nn.Module):
    """Vectors of layout features: a sum over buckets, and a small network over the numbers themselves."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.table = _table(LAYOUT_ROWS, width, spread=0.1)
        self.values = nn.Sequential(nn.Linear(LAYOUT_VALUES, 64), nn.GELU(), nn.Linear(64, width))

    def forward(self, features: Features) -> torch.Tensor:
        """Return what to add to the units' vectors. Shape (N, width)."""
        values = features["layout_values"].to(self.table.weight.dtype)
        placed: torch.Tensor = self.table(features["layout"]) + self.values(values)
        return placed


class LineEmbedding(nn.Module):
    """Vectors of places in lines, and of lines in contexts."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.table = _table(LINE_ROWS, width, spread=0.1)

    def forward(self, features: Features) -> torch.Tensor:
        """Return what to add to the units' vectors. Shape (N, width)."""
        placed: torch.Tensor = self.table(features["placed"])
        return placed


class MetadataEmbedding(nn.Module):
    """Vectors of the units' metadata: a sum over keys. In training some windows see nothing of it."""

    first: torch.Tensor

    def __init__(self, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        self.table = _table(sum(sizes), width, spread=0.1)
        firsts = [sum(sizes[:i]) for i in range(len(sizes))]
        self.register_buffer("first", torch.tensor(firsts), persistent=False)  # the rows of what a unit lacks

    def forward(self, features: Features) -> torch.Tensor:
        """Return what to add to the units' vectors. Shape (N, width)."""
        rows = features["metadata"]
        if self.training:
            window = (features["before"] == 0).cumsum(0) - 1
            hidden = torch.rand(len(features["length"]), 1, device=rows.device) < _HIDDEN
            rows = torch.where(hidden.index_select(0, window), self.first, rows)
        placed: torch.Tensor = self.table(rows)
        return placed


class GazetteerEmbedding(nn.Module):
    """Vectors of what the gazetteer says of units: a sum over patterns. In training it says nothing of some."""

    nothing: torch.Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.table = _table(size, width, spread=0.1)
        nothing = torch.arange(PATTERNS) * (size // PATTERNS)
        self.register_buffer("nothing", nothing, persistent=False)

    def forward(self, features: Features) -> torch.Tensor:
        """Return what to add to the units' vectors. Shape (N, width)."""
        rows = features["gazetteer"]
        if self.training:
            unsaid = torch.rand(len(rows), 1, device=rows.device) < _UNSAID
            rows = torch.where(unsaid, self.nothing, rows)
        said: torch.Tensor = self.table(rows)
        return said


class _Table(nn.EmbeddingBag):
    def forward(self, rows: torch.Tensor, offsets: torch.Tensor | None = None) -> torch.Tensor:  # type: ignore[override]
        if torch.is_grad_enabled() and can_loop(self.weight):
            return bags(self.weight, rows, offsets, self.mode)
        found: torch.Tensor = super().forward(rows, offsets)
        return found


def _table(rows: int, size: int, *, mode: str = "sum", spread: float = 0.3) -> nn.EmbeddingBag:
    table = _Table(rows, size, mode=mode, include_last_offset=mode == "mean")
    nn.init.normal_(table.weight, std=spread)
    return table

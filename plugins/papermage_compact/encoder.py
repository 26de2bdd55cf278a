"""The context encoder ``compact``: windows of hashed features in, one vector a unit out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from papermage_compact.batch import collate
from papermage_compact.network import GatedConvolution, Places
from papermage_compact.table import WordTable
from papermage_compact.units import UNIT_ROWS
from papermage_compact.windowing import Windower
from papermage_compact.words import GROUPS, word_features
from papermage_core.plugin import Context, Window

if TYPE_CHECKING:
    from papermage_compact.plugin import CompactConfig

__all__ = ["CompactEncoder"]

_SIZES = {"word": 96, "prefix": 48, "suffix": 48, "shape": 48}
_NGRAM_SIZE = 64
_SPREAD = 0.3  # of embeddings at the start


class CompactEncoder(nn.Module):
    """Embeds each word type of a batch once, adds what is seen of the unit, and lets convolutions read around it."""

    def __init__(self, config: CompactConfig, folder: Path | None = None) -> None:
        super().__init__()
        self.output_size = config.width
        rows = {group: config.rows // 3 if group != "word" else config.rows for group in GROUPS}
        rows = {group: share - share % GROUPS[group] for group, share in rows.items()}
        ngram_rows = min(config.rows * 5 // 3, 65535)
        make = partial(word_features, sizes=rows, ngram_rows=ngram_rows)
        self._windower = Windower(WordTable(make), config.rows, config.max_length, with_layout=config.layout == "on")
        self.words = nn.ModuleDict(
            {group: nn.EmbeddingBag(rows[group], _SIZES[group], mode="sum") for group in GROUPS}
        )
        self.ngrams = nn.EmbeddingBag(ngram_rows, _NGRAM_SIZE, mode="mean", include_last_offset=True)
        self.units = nn.EmbeddingBag(UNIT_ROWS, config.width, mode="sum")
        self.pairs = nn.Embedding(config.rows, 32)
        for table in (*self.words.values(), self.ngrams, self.pairs):
            nn.init.normal_(table.weight, std=_SPREAD)
        nn.init.normal_(self.units.weight, std=0.1)
        self.mix = nn.Linear(sum(_SIZES.values()) + _NGRAM_SIZE, config.width)
        self.mix_pair = nn.Linear(64, config.width)
        self.norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.word_dropout = config.word_dropout
        self.layers = nn.ModuleList(
            GatedConvolution(config.width, dilation, config.dropout) for dilation in config.dilations
        )
        self.last = nn.LayerNorm(config.width)

    def windows(self, contexts: Sequence[Context], *, stride: int) -> list[list[Window]]:
        """Return the windows of each context."""
        return self._windower.windows(contexts, stride)

    def collate(self, windows: Sequence[Window]) -> dict[str, torch.Tensor]:
        """Return the tensors of a batch."""
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in collate(windows).items()}

    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the unit vectors. Shape (windows, units of the longest, D)."""
        places = Places(features["before"], features["after"])
        x = self._embed(features)
        for layer in self.layers:
            x = layer(x, places)
        return self._pad(self.last(x), features)

    def save(self, folder: Path) -> None:
        """Write nothing: options and weights are all there is."""

    def _embed(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        parts = [self.words[group](features[group]) for group in self.words]
        if self.training and self.word_dropout:
            parts[0] = parts[0] * (torch.rand(len(parts[0]), 1, device=parts[0].device) >= self.word_dropout)
        parts.append(self.ngrams(features["ngram"], features["ngram_offset"]))
        x = F.gelu(self.mix(self.dropout(torch.cat(parts, 1)))).index_select(0, features["type"])
        x = x + self.units(features["unit"])
        pairs = torch.cat([self.pairs(features["pair"]), self.pairs(features["next_pair"])], 1)
        x = x + self.mix_pair(self.dropout(pairs))
        return self.dropout(self.norm(x))

    def _pad(self, x: torch.Tensor, features: dict[str, torch.Tensor]) -> torch.Tensor:
        windows, longest = len(features["length"]), int(features["length"].max())
        padded = x.new_zeros(windows * longest, x.shape[1])
        return padded.index_copy(0, features["place"], x).view(windows, longest, -1)

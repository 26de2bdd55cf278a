"""The context encoder ``compact``: windows of hashed features in, one vector a unit out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from papermage_compact.batch import collate
from papermage_compact.embedding import LayoutEmbedding, UnitEmbedding, WordEmbedding
from papermage_compact.network import BlockDropout, GatedConvolution, LineReader, Places, RepetitionReader
from papermage_compact.recurrence import GatedRecurrence
from papermage_compact.table import WordTable
from papermage_compact.vectors import Vectors, load_vectors, restore_vectors
from papermage_compact.windowing import Windower
from papermage_compact.words import GROUPS, no_pieces, word_features
from papermage_core.plugin import Context, Window

if TYPE_CHECKING:
    from papermage_compact.plugin import CompactConfig

__all__ = ["CompactEncoder"]


class CompactEncoder(nn.Module):
    """Embeds each word type of a batch once, adds what is seen of the unit, and reads around it from near to far."""

    def __init__(self, config: CompactConfig, folder: Path | None = None) -> None:
        super().__init__()
        self.output_size = config.width
        self._given = _vectors(config, folder)
        rows = {group: config.rows if group == "word" else config.rows // 3 for group in GROUPS}
        rows = {group: max(count, GROUPS[group]) for group, count in rows.items()}
        ngram_rows = min(config.rows * 5 // 3, 65535)
        pieces = self._given.pieces if self._given else no_pieces
        make = partial(word_features, sizes=rows, ngram_rows=ngram_rows, pieces=pieces)
        with_layout = config.layout == "on"
        self._windower = Windower(WordTable(make), config.max_length, with_layout=with_layout)

        matrix = self._given.matrix() if self._given else None
        self.words = WordEmbedding(
            rows, ngram_rows, config.width, config.dropout, config.word_dropout, matrix, tune=config.tune_vectors
        )
        self.units = UnitEmbedding(config.width)
        self.layout = LayoutEmbedding(config.width) if with_layout else None
        self.lines = LineReader(config.width, (1, 2, 4), config.dropout) if with_layout else None
        self.norm = nn.LayerNorm(config.width)
        self.dropout = BlockDropout(config.dropout)
        self.convolutions = nn.ModuleList(
            GatedConvolution(config.width, config.dropout) for _ in range(config.depth + 1)
        )
        self.recurrences = nn.ModuleList(GatedRecurrence(config.width, config.dropout) for _ in range(config.depth))
        self.repetition = RepetitionReader(config.width, config.dropout)
        self.last = nn.LayerNorm(config.width)

    def windows(self, contexts: Sequence[Context], *, stride: int) -> list[list[Window]]:
        """Return the windows of each context; most have one."""
        return self._windower.windows(contexts, stride)

    def collate(self, windows: Sequence[Window]) -> dict[str, torch.Tensor]:
        """Return the tensors of a batch, described in `papermage_compact.batch.collate`."""
        return {name: torch.from_numpy(array) for name, array in collate(windows).items()}

    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the unit vectors. Shape (windows, units of the longest, D)."""
        x = self.words(features).index_select(0, features["type"]) + self.units(features)
        if self.layout is not None:
            x = x + self.layout(features)
        x = self.dropout(self.norm(x))
        places = Places(features["before"], features["after"])
        x = self.convolutions[0](x, places)
        if self.lines is not None:
            x = self.lines(x, features["line"], Places(features["lines_before"], features["lines_after"]))
        for recurrence, convolution in zip(self.recurrences, self.convolutions[1:], strict=True):
            x = recurrence(x, places)
            if recurrence is self.recurrences[0]:
                x = self.repetition(x, features["same"], features["same_count"])
            x = convolution(x, places)
        return _pad(self.last(x), features)

    def save(self, folder: Path) -> None:
        """Write the given vectors, if any; the rest is options and weights."""
        if self._given:
            self._given.save(folder)


def _vectors(config: CompactConfig, folder: Path | None) -> Vectors | None:
    """Return the vectors of a checkpoint, where no others are looked for, or else those that the options name."""
    if folder is not None or config.vectors is None:
        return restore_vectors(folder) if folder else None
    return load_vectors(config.vectors, config.vectors_size, config.vectors_rows)


def _pad(x: torch.Tensor, features: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the vectors of all units in a row, (N, D), window by window: (windows, units of the longest, D)."""
    windows, longest = len(features["length"]), int(features["length"].max())
    padded = x.new_zeros(windows * longest, x.shape[1]).index_copy(0, features["place"], x)
    return padded.view(windows, longest, -1)

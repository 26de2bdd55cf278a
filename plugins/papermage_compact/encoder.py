"""The context encoder ``compact``: windows of hashed features in, one vector a unit out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn

from papermage_compact.batch import collate
from papermage_compact.embedding import (
    GazetteerEmbedding,
    LayoutEmbedding,
    LineEmbedding,
    LongFormEmbedding,
    MetadataEmbedding,
    UnitEmbedding,
    WordEmbedding,
)
from papermage_compact.exportable import ExportableCompact
from papermage_compact.gazetteer import Gazetteer
from papermage_compact.metadata import Column
from papermage_compact.network import BlockDropout, GatedConvolution, LineReader, Neighbours, RepetitionReader
from papermage_compact.phrases import phrase_features
from papermage_compact.recurrence import GatedRecurrence
from papermage_compact.table import WordTable
from papermage_compact.vectors import Vectors
from papermage_compact.windowing import Windower
from papermage_compact.words import GROUPS, no_pieces, word_features
from papermage_core.plugin import Context, Window

__all__ = ["CompactEncoder"]


class CompactEncoder(nn.Module):
    """Embeds each word type of a batch once, adds features of the unit, and reads its context from near to far."""

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        dropout: float,
        word_dropout: float,
        rows: int,
        with_layout: bool,
        with_lines: bool,
        with_phrases: bool,
        with_abbreviations: bool,
        metadata: tuple[Column, ...],
        gazetteer: Gazetteer | None,
        vectors: Vectors | None,
        tune_vectors: bool,
        max_length: int,
    ) -> None:
        super().__init__()
        self.output_size = width
        self.given_vectors = vectors
        self._max_length = max_length
        sizes = {group: max(rows if group == "word" else rows // 3, count) for group, count in GROUPS.items()}
        ngram_rows = min(rows * 5 // 3, 65535)
        make = partial(
            phrase_features if with_phrases else word_features,
            sizes=sizes,
            ngram_rows=ngram_rows,
            pieces=vectors.pieces if vectors else no_pieces,
        )
        self._windower = Windower(
            WordTable(make),
            max_length,
            with_layout=with_layout,
            with_lines=with_lines,
            with_abbreviations=with_abbreviations,
            metadata=metadata,
            gazetteer=gazetteer,
        )

        matrix = vectors.matrix() if vectors else None
        self.words = WordEmbedding(sizes, ngram_rows, width, dropout, word_dropout, matrix, tune=tune_vectors)
        self.long_forms = LongFormEmbedding(width, dropout) if with_abbreviations else None
        self.units = UnitEmbedding(width)
        self.layout = LayoutEmbedding(width) if with_layout else None
        self.placed = LineEmbedding(width) if with_lines else None
        self.lines = LineReader(width, (1, 2, 4), dropout) if with_layout or with_lines else None
        self.metadata = MetadataEmbedding([column.size for column in metadata], width) if metadata else None
        self.gazetteer = GazetteerEmbedding(gazetteer.size, width) if gazetteer is not None else None
        self.norm = nn.LayerNorm(width)
        self.dropout = BlockDropout(dropout)
        self.convolutions = nn.ModuleList(GatedConvolution(width, dropout) for _ in range(depth + 1))
        self.recurrences = nn.ModuleList(GatedRecurrence(width, dropout) for _ in range(depth))
        self.repetition = RepetitionReader(width, dropout)
        self.last = nn.LayerNorm(width)

    def windows(self, contexts: Sequence[Context], *, stride: int) -> list[list[Window]]:
        """Return the windows of each context; most have one."""
        return self._windower.windows(contexts, stride)

    def collate(self, windows: Sequence[Window]) -> dict[str, torch.Tensor]:
        """Return the tensors of a batch, described in `papermage_compact.batch.collate`."""
        return {name: torch.from_numpy(array) for name, array in collate(windows).items()}

    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the unit vectors. Shape (windows, units of the longest, D)."""
        return _pad(self.read(features), features)

    def read(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the vectors of all units in a row; words that ``hidden`` (N,) names are not seen. Shape (N, D)."""
        x = self.words(features).index_select(0, features["type"])
        if "hidden" in features:
            x = x.masked_fill(features["hidden"].unsqueeze(1), 0.0)
        if self.long_forms is not None:
            x = self.long_forms(x, features, self.words.tables)
        x = x + self.units(features)
        if self.layout is not None:
            x = x + self.layout(features)
        if self.placed is not None:
            x = x + self.placed(features)
        if self.metadata is not None:
            x = x + self.metadata(features)
        if self.gazetteer is not None:
            x = x + self.gazetteer(features)
        x = self.dropout(self.norm(x))
        neighbours = Neighbours(features["before"], features["after"])
        x = self.convolutions[0](x, neighbours)
        if self.lines is not None:
            x = self.lines(x, features["line"], Neighbours(features["lines_before"], features["lines_after"]))
        for recurrence, convolution in zip(self.recurrences, self.convolutions[1:], strict=True):
            x = recurrence(x, neighbours)
            if recurrence is self.recurrences[0]:
                x = self.repetition(x, features["same"], features["same_count"])
            x = convolution(x, neighbours)
        read: torch.Tensor = self.last(x)
        return read

    def exportable(self) -> nn.Module:
        """Return the encoder with the operations that ONNX has."""
        return ExportableCompact(self, self._max_length)

    def save(self, folder: Path) -> None:
        """Write the given vectors, if any; the rest is options and weights."""
        if self.given_vectors:
            self.given_vectors.save(folder)


def _pad(x: torch.Tensor, features: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the vectors of all units in a row, (N, D), window by window: (windows, units of the longest, D)."""
    windows, longest = len(features["length"]), int(features["length"].max())
    padded = x.new_zeros(windows * longest, x.shape[1]).index_copy(0, features["position"], x)
    return padded.view(windows, longest, -1)

"""The encoder ``vocabulary`` itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from papermage_core.plugin import Context, Window
from torch import nn

from papermage_example.windows import cut

PADDING, UNKNOWN = 0, 1
"""Rows of the table that are no word's own; those of the words follow."""


class VocabularyEncoder(nn.Module):
    """A vector for each word of a list, one for all others together; then a convolution over neighbouring units."""

    def __init__(self, words: Sequence[str], *, size: int, window: int) -> None:
        super().__init__()
        self.output_size = size
        self.window = window
        self.row_of = {word: row for row, word in enumerate(words, start=UNKNOWN + 1)}
        self.words = nn.Embedding(UNKNOWN + 1 + len(words), size, padding_idx=PADDING)
        self.mix = nn.Conv1d(size, size, kernel_size=3, padding=1)

    def windows(self, contexts: Sequence[Context], *, stride: int) -> list[list[Window]]:
        """Return windows of at most ``window`` units, each beginning ``stride`` units before the last one ends."""
        return [self._windows_of(context, stride) for context in contexts]

    def _windows_of(self, context: Context, stride: int) -> list[Window]:
        rows = np.array([self.row_of.get(word, UNKNOWN) for word in context.words], np.int32)
        places = cut(len(rows), self.window, stride)
        return [Window(start, stop, {"rows": rows[start:stop]}, cost=stop - start) for start, stop in places]

    def collate(self, windows: Sequence[Window]) -> dict[str, torch.Tensor]:
        """Return the row of each unit. Shape: (windows, units)."""
        rows = [torch.from_numpy(np.asarray(window.features["rows"], np.int64)) for window in windows]
        return {"rows": nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PADDING)}

    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the unit vectors. Shape: (windows, units, size)."""
        words = self.words(features["rows"])  # padding is a row of zeros, which neighbours may see
        mixed: torch.Tensor = self.mix(words.transpose(1, 2)).transpose(1, 2)
        return words + mixed.relu()

    def save(self, folder: Path) -> None:
        """Write nothing: options, words and weights are kept by the core."""

"""The encoder itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from papermage_core.plugin import Context, Window
from torch import nn

if TYPE_CHECKING:
    from papermage_example_plugin.encoder.plugin import ExamplePluginEncoderConfig

PADDING, UNKNOWN = 0, 1
"""Rows of the table that are no word's own; those of the words follow."""


class ExamplePluginEncoder(nn.Module):
    """A vector for each word of the list, one for all others together; then a convolution over three units."""

    def __init__(self, config: ExamplePluginEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.output_size = config.size
        self.row_of = {word: row for row, word in enumerate(config.words, start=UNKNOWN + 1)}
        self.words = nn.Embedding(UNKNOWN + 1 + len(config.words), config.size, padding_idx=PADDING)
        self.mix = nn.Conv1d(config.size, config.size, kernel_size=3, padding=1)

    def windows(self, contexts: Sequence[Context], *, stride: int) -> list[list[Window]]:
        """Return stretches of at most ``window`` units, each beginning ``stride`` units before the last one ends."""
        return [self._windows_of(context, stride) for context in contexts]

    def _windows_of(self, context: Context, stride: int) -> list[Window]:
        rows = np.array([self.row_of.get(word.lower(), UNKNOWN) for word in context.words], np.int32)
        windows: list[Window] = []
        start = stop = 0
        while stop < len(rows):
            start = max(start + 1, stop - stride) if windows else 0
            stop = min(len(rows), start + self.config.window)
            windows.append(Window(start, stop, {"rows": rows[start:stop]}, cost=stop - start))
        return windows

    def collate(self, windows: Sequence[Window]) -> dict[str, torch.Tensor]:
        """Return the rows of the units, padded to the longest window. Shape: (windows, units)."""
        rows = [torch.from_numpy(np.asarray(window.features["rows"], np.int64)) for window in windows]
        return {"rows": nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PADDING)}

    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the unit vectors. Shape: (windows, units, size). Padding is zero before the convolution sees it."""
        words = self.words(features["rows"])
        vectors: torch.Tensor = words + self.mix(words.transpose(1, 2)).transpose(1, 2).relu()
        return vectors

    def save(self, folder: Path) -> None:
        """Write nothing: options, words and weights are kept by the core."""

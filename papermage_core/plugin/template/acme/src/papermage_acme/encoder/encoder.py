"""The encoder itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
import torch
from papermage_core.plugin import Context, Window
from torch import nn

if TYPE_CHECKING:
    from papermage_acme.encoder.plugin import AcmeEncoderConfig


class AcmeEncoder(nn.Module):
    """A vector for each unit's word, hashed, and a convolution over three units."""

    def __init__(self, config: AcmeEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.output_size = config.size
        self.words = nn.Embedding(config.rows + 1, config.size, padding_idx=0)
        self.mix = nn.Conv1d(config.size, config.size, kernel_size=3, padding=1)

    def windows(self, contexts: Sequence[Context], *, stride: int) -> list[list[Window]]:
        """Return stretches of at most ``window`` units, each beginning ``stride`` units before the last one ends."""
        return [self._windows_of(context, stride) for context in contexts]

    def _windows_of(self, context: Context, stride: int) -> list[Window]:
        hashed = [1 + crc32(word.lower().encode()) % self.config.rows for word in context.words]
        rows = np.array(hashed, np.int32)  # 0 is padding
        windows: list[Window] = []
        start = stop = 0
        while stop < len(rows):
            start = max(start + 1, stop - stride) if windows else 0
            stop = min(len(rows), start + self.config.window)
            windows.append(Window(start, stop, {"rows": rows[start:stop]}, cost=stop - start))
        return windows

    def collate(self, windows: Sequence[Window]) -> dict[str, torch.Tensor]:
        """Return the rows of the units, 0 where a window is shorter than the longest. Shape: (windows, units)."""
        rows = [torch.from_numpy(np.asarray(window.features["rows"], np.int64)) for window in windows]
        return {"rows": nn.utils.rnn.pad_sequence(rows, batch_first=True)}

    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the unit vectors. Shape: (windows, units, size). Padding is zero before the convolution sees it."""
        words = self.words(features["rows"])
        vectors: torch.Tensor = words + self.mix(words.transpose(1, 2)).transpose(1, 2).relu()
        return vectors

    def save(self, folder: Path) -> None:
        """Write nothing: options and weights are kept by the core."""

"""The encoder ``letters`` itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from papermage_core.plugin import Context, Window
from torch import nn

from papermage_example.windows import cut

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from papermage_example.letters import LettersConfig

CODES = 512
"""Letters are told apart by their code point, modulo this; 0 stands for no letter."""


class LettersEncoder(nn.Module):
    """A convolution over the letters of each unit, the strongest response kept; then one over neighbouring units."""

    def __init__(self, config: LettersConfig) -> None:
        super().__init__()
        self.config = config
        self.output_size = config.size
        self.letters = nn.Embedding(CODES, 24, padding_idx=0)
        self.word = nn.Conv1d(24, config.size, kernel_size=3, padding=1)
        self.mix = nn.Conv1d(config.size, config.size, kernel_size=2 * config.width + 1, padding=config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.size)

    def windows(self, contexts: Sequence[Context], *, stride: int) -> list[list[Window]]:
        """Return windows of at most ``window`` units, each beginning ``stride`` units before the last one ends."""
        return [self._windows_of(context, stride) for context in contexts]

    def _windows_of(self, context: Context, stride: int) -> list[Window]:
        letters = spell(context.words, self.config.longest)
        places = cut(len(letters), self.config.window, stride)
        return [Window(start, stop, {"letters": letters[start:stop]}, cost=stop - start) for start, stop in places]

    def collate(self, windows: Sequence[Window]) -> dict[str, torch.Tensor]:
        """Return the letters, shape (windows, units, letters), and which units are real, shape (windows, units)."""
        letters = [torch.from_numpy(np.asarray(window.features["letters"], np.int64)) for window in windows]
        real = [torch.ones(len(of_window), dtype=torch.bool) for of_window in letters]
        pad = nn.utils.rnn.pad_sequence
        return {"letters": pad(letters, batch_first=True), "real": pad(real, batch_first=True)}

    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the unit vectors. Shape: (windows, units, size)."""
        words = self._words(features["letters"])
        words = self.dropout(words) * features["real"][..., None]  # neighbours see zeros where no unit is
        mixed = self.mix(words.transpose(1, 2)).transpose(1, 2)
        out: torch.Tensor = self.norm(words + mixed.relu())
        return out

    def _words(self, letters: torch.Tensor) -> torch.Tensor:
        """Return a vector for each unit from its letters alone. Shape: (windows, units, size)."""
        windows, units, longest = letters.shape
        embedded = self.letters(letters.reshape(windows * units, longest))  # shape: (windows * units, letters, 24)
        responses: torch.Tensor = self.word(embedded.transpose(1, 2)).relu()  # shape: (windows * units, size, letters)
        return responses.amax(-1).reshape(windows, units, -1)

    def save(self, folder: Path) -> None:
        """Write nothing: options and weights are kept by the core."""


def spell(words: Sequence[str], longest: int) -> NDArray[np.int16]:
    """Return the codes of the first and last letters of each word. Shape: (words, longest).

    >>> spell(["ab", ""], 3).tolist()
    [[98, 99, 0], [0, 0, 0]]
    """
    codes = np.zeros((len(words), longest), np.int16)
    for row, word in zip(codes, words, strict=True):
        kept = word if len(word) <= longest else word[: longest - longest // 2] + word[-(longest // 2) :]
        row[: len(kept)] = [1 + ord(letter) % (CODES - 1) for letter in kept]
    return codes

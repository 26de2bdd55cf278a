"""A context encoder small enough for any test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar
from zlib import crc32

import attrs
import numpy as np
import torch
from torch import nn

from papermage_core.plugin.spec import Context, ContextEncoderConfig, Window, option

__all__ = ["TinyEncoder", "TinyEncoderConfig"]


@attrs.frozen(kw_only=True)
class TinyEncoderConfig(ContextEncoderConfig):
    """Hashed words, each seen with its neighbours."""

    default_learning_rate: ClassVar[float] = 0.01

    size: int = option(16, help="size of a unit's vector", ge=1)
    rows: int = option(512, help="rows of the table of hashed words", ge=1)
    window: int = option(64, help="most units in a window", ge=2)

    def build(self, folder: Path | None = None) -> TinyEncoder:
        """Return a new encoder; there is nothing in ``folder`` that it needs."""
        return TinyEncoder(self)


class TinyEncoder(nn.Module):
    """Each unit's hashed word, and its neighbours', through one linear layer."""

    def __init__(self, config: TinyEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.output_size = config.size
        self.words = nn.Embedding(config.rows + 1, config.size, padding_idx=0)
        self.mix = nn.Linear(3 * config.size, config.size)

    def windows(self, contexts: Sequence[Context], *, stride: int) -> list[list[Window]]:
        """Return windows of at most ``config.window`` units, each ``stride`` units into the one before."""
        return [self._windows(context, stride) for context in contexts]

    def _windows(self, context: Context, stride: int) -> list[Window]:
        rows = np.array([1 + crc32(word.lower().encode()) % self.config.rows for word in context.words], np.int32)
        step = max(1, self.config.window - stride)
        last = max(1, len(rows) - self.config.window + step)
        return [
            Window(start, stop, {"rows": rows[start:stop]}, cost=stop - start)
            for start in range(0, last, step)
            if (stop := min(len(rows), start + self.config.window)) > start
        ]

    def collate(self, windows: Sequence[Window]) -> dict[str, torch.Tensor]:
        """Return the rows of each unit's word and its neighbours', 0 beyond the window. Shape (windows, units)."""
        rows: Any = [torch.from_numpy(np.asarray(window.features["rows"], np.int64)) for window in windows]
        return {"rows": nn.utils.rnn.pad_sequence(rows, batch_first=True)}

    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the unit vectors. Shape (windows, units, size)."""
        words = self.words(features["rows"])
        before = nn.functional.pad(words, (0, 0, 1, 0))[:, :-1]
        after = nn.functional.pad(words, (0, 0, 0, 1))[:, 1:]
        mixed: torch.Tensor = self.mix(torch.cat([before, words, after], -1))
        return mixed.tanh()

    def save(self, folder: Path) -> None:
        """Write nothing: options and weights are all there is."""

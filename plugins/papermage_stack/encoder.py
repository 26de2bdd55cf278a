"""An encoder on an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from papermage_core.errors import ConfigError
from papermage_core.plugin import Context, ContextEncoder, Window

__all__ = ["StackEncoder"]

_LENGTHS = "stack_lengths"


class StackEncoder(nn.Module):
    """Windows are those of the inner encoder; the LSTM reads the vectors of each, in both directions."""

    inner: ContextEncoder

    def __init__(
        self, inner: ContextEncoder, *, size: int, layers: int, dropout: float, learning_rate_factor: float
    ) -> None:
        super().__init__()
        self.inner = inner
        self.output_size = 2 * size
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(
            inner.output_size,
            size,
            num_layers=layers,
            batch_first=True,
            bidirectional=True,
            dropout=dropout if layers > 1 else 0.0,
        )
        self._factor = learning_rate_factor

    def windows(self, contexts: Sequence[Context], *, stride: int) -> list[list[Window]]:
        """Return the windows of the inner encoder."""
        return self.inner.windows(contexts, stride=stride)

    def collate(self, windows: Sequence[Window]) -> dict[str, Tensor]:
        """Return the tensors of the inner encoder, and how many units each window has."""
        lengths = torch.tensor([window.stop - window.start for window in windows])
        return {**self.inner.collate(windows), _LENGTHS: lengths}

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Return the LSTM's vectors. Shape: (windows, units of the longest window, 2 · size)."""
        vectors = self.inner({name: value for name, value in features.items() if name != _LENGTHS})
        lengths = features[_LENGTHS].cpu()
        packed = pack_padded_sequence(
            self.dropout(vectors).to(self.lstm.weight_ih_l0.dtype), lengths, batch_first=True, enforce_sorted=False
        )
        found, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=vectors.shape[1])
        result: Tensor = found
        return result

    def exportable(self) -> nn.Module:
        """Raise ConfigError: the lengths of windows steer the LSTM, which no graph can follow."""
        raise ConfigError("encoder=stack cannot be exported: its LSTM runs over windows of different lengths")

    def make_gradients_sparse(self) -> None:
        """Have the inner encoder make its own so, where it can."""
        if hasattr(self.inner, "make_gradients_sparse"):
            self.inner.make_gradients_sparse()

    def save(self, folder: Path) -> None:
        """Have the inner encoder save in a folder of its own."""
        (folder / "inner").mkdir()
        self.inner.save(folder / "inner")

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return the groups of the inner encoder, and those of the LSTM with a learning rate of its own."""
        own = getattr(self.inner, "parameter_groups", None)
        inner: Any = self.inner
        groups = _groups(inner, learning_rate, weight_decay) if own is None else list(own(learning_rate, weight_decay))
        return [*groups, *_groups(self.lstm, self._factor * learning_rate, weight_decay)]


def _groups(module: nn.Module, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "lr": learning_rate, "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "lr": learning_rate, "weight_decay": 0.0},
    ]

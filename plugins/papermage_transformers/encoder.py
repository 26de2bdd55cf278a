"""The context encoder: windows through a transformer, wordpieces pooled to units."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from papermage_core.plugin import Context, Window
from papermage_transformers.batch import Collator
from papermage_transformers.pooling import POOLINGS
from papermage_transformers.products import FastProducts, has_fast_products
from papermage_transformers.tuning import parameter_groups
from papermage_transformers.windows import WindowMaker

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["TransformerEncoder"]


class TransformerEncoder(nn.Module):
    """A Hugging Face model as a `ContextEncoder`.

    On a CPU it computes in bfloat16 where ``autocast`` is set; the vectors that come out are float32 unless the caller
    runs an autocast of its own.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerFast,
        maker: WindowMaker,
        collator: Collator,
        *,
        pooling: str,
        layer_decay: float,
        autocast: bool,
        checkpointing: bool,
        fingerprint: str,
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.output_size: int = model.config.hidden_size  # type: ignore[union-attr, assignment]
        self.fingerprint = fingerprint
        """A digest of all that shapes the windows: equal where ``windows`` gives equal features."""
        self._maker = maker
        self._collator = collator
        self._pool = POOLINGS[pooling]
        self._layer_decay = layer_decay
        self._autocast = autocast
        self._checkpointing = checkpointing

    def windows(self, contexts: Sequence[Context], *, stride: int) -> list[list[Window]]:
        """Return the windows of each context."""
        return self._maker.windows(contexts, stride)

    def collate(self, windows: Sequence[Window]) -> dict[str, torch.Tensor]:
        """Return the batch of these windows, on the CPU; `Collator` says what is in it."""
        return self._collator(windows)

    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return unit vectors. Shape: (windows, units, output_size)."""
        inputs = {name: features[name] for name in ("input_ids", "attention_mask", "bbox") if name in features}
        device = inputs["input_ids"].device.type
        if torch.is_autocast_enabled(device) or not (self._autocast and device == "cpu"):
            return self._pool(self.model(**inputs).last_hidden_state, features)
        again = torch.is_grad_enabled() and self._checkpointing
        fast = has_fast_products() and not again
        with torch.autocast("cpu", dtype=torch.bfloat16), FastProducts() if fast else nullcontext():
            pieces = self.model(**inputs).last_hidden_state  # (S, T, D)
        return self._pool(pieces, features).float()

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return optimizer groups: no weight decay on biases and norms, layer-wise learning rates."""
        return parameter_groups(self.model, learning_rate, weight_decay, self._layer_decay)

    def save(self, folder: Path) -> None:
        """Write the tokenizer and the model's config, without weights."""
        self.tokenizer.save_pretrained(folder)
        self.model.config.save_pretrained(folder)  # type: ignore[union-attr, operator]

"""The context encoder: windows through a transformer, wordpieces pooled to units."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import nn

from papermage_core.plugin import Context, Window
from papermage_transformers.batch import Collator
from papermage_transformers.cpu import CpuPrecision, medium_matmul
from papermage_transformers.cpu_kernels import CpuKernels, has_cpu_kernels
from papermage_transformers.pooling import POOLINGS
from papermage_transformers.tokenizer import FastTokenizer
from papermage_transformers.tuning import parameter_groups
from papermage_transformers.windows import WindowMaker

__all__ = ["TransformerEncoder", "model_inputs"]


def model_inputs(features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return what of a batch goes to the model; the rest says how its wordpieces are pooled."""
    return {name: features[name] for name in ("input_ids", "attention_mask", "bbox") if name in features}


class TransformerEncoder(nn.Module):
    """A Hugging Face model as a `ContextEncoder`.

    On a CPU a model whose weights are float32 computes in ``precision``, unless the caller runs an autocast of its own.
    The vectors that come out have the dtype of the weights; under a caller's autocast, float32 or the autocast's.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: FastTokenizer,
        maker: WindowMaker,
        collator: Collator,
        *,
        output_size: int,
        pooling: str,
        layer_decay: float,
        precision: CpuPrecision,
        checkpointing: bool,
        fingerprint: str,
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.output_size = output_size
        self.fingerprint = fingerprint
        """A digest of all that shapes the windows: equal where ``windows`` gives equal features."""
        self._maker = maker
        self._collator = collator
        self._pool = POOLINGS[pooling]
        self._layer_decay = layer_decay
        self._precision = precision
        self._checkpointing = checkpointing

    def windows(self, contexts: Sequence[Context], *, stride: int) -> list[list[Window]]:
        """Return the windows of each context."""
        return self._maker.windows(contexts, stride)

    def collate(self, windows: Sequence[Window]) -> dict[str, torch.Tensor]:
        """Return the batch of these windows, on the CPU; `Collator` says what is in it."""
        return self._collator(windows)

    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return unit vectors. Shape: (windows, units, output_size)."""
        inputs = model_inputs(features)
        dtype = next(self.model.parameters()).dtype
        if "bbox" in inputs and inputs["bbox"].is_floating_point():
            inputs["bbox"] = inputs["bbox"].to(dtype)
        if torch.is_autocast_enabled(inputs["input_ids"].device.type):
            return self._pool(self.model(**inputs).last_hidden_state, features)
        with ExitStack() as stack:
            if inputs["input_ids"].device.type == "cpu" and dtype == torch.float32:
                self._enter_precision(stack)
            pieces = self.model(**inputs).last_hidden_state  # (S, T, D)
        return self._pool(pieces, features).to(dtype)

    def _enter_precision(self, stack: ExitStack) -> None:
        """Compute as ``precision`` says until the stack is left; nothing else in the process is changed by it."""
        if self._precision == "medium":
            stack.enter_context(medium_matmul)
        elif self._precision == "bfloat16":
            stack.enter_context(torch.autocast("cpu", dtype=torch.bfloat16))
            if has_cpu_kernels() and not (torch.is_grad_enabled() and self._checkpointing):
                stack.enter_context(CpuKernels())

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return optimizer groups: no weight decay on biases and norms, layer-wise learning rates."""
        return parameter_groups(self.model, learning_rate, weight_decay, self._layer_decay)

    def save(self, folder: Path) -> None:
        """Write the tokenizer and the model's config, without weights."""
        self.tokenizer.save(folder)
        self.model.config.save_pretrained(folder)  # type: ignore[union-attr, operator]

"""The context encoder: windows through a transformer, wordpieces pooled to units."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import nn

from papermage_core.plugin import Context, Window
from papermage_transformers.batch import Collator
from papermage_transformers.cpu import (
    CpuPrecision,
    PredictionPrecision,
    medium_matmul,
    prediction_precision,
)
from papermage_transformers.cpu_kernels import CpuKernels, Float32Kernels, has_cpu_kernels
from papermage_transformers.int8_kernels import Int8Kernels
from papermage_transformers.packed import can_pack, packed_vectors
from papermage_transformers.pooling import POOLINGS, READ, Pooling
from papermage_transformers.runs import in_runs
from papermage_transformers.tokenizer import FastTokenizer
from papermage_transformers.tuning import parameter_groups
from papermage_transformers.windows import WindowMaker

__all__ = ["TransformerEncoder", "model_inputs"]


def model_inputs(features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return what of a batch goes to the model; the rest says how its wordpieces are pooled."""
    return {name: features[name] for name in ("input_ids", "attention_mask", "bbox") if name in features}


class _Exportable(nn.Module):
    """The tensors of a batch → unit vectors, in the arithmetic of the weights."""

    def __init__(self, model: nn.Module, pool: Pooling) -> None:
        super().__init__()
        self.model = model
        self._pool = pool

    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        return self._pool(self.model(**model_inputs(features)).last_hidden_state, features)


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
        sees_padding: bool,
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
        self._pool, self._read = POOLINGS[pooling], READ[pooling]
        self._layer_decay = layer_decay
        self._precision = precision
        self._predicted: PredictionPrecision | None = None
        self._checkpointing = checkpointing
        self._sees_padding = sees_padding

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
        device = inputs["input_ids"].device.type
        if torch.is_autocast_enabled(device):
            return self._pool(self._padded_pieces(inputs), features)
        with ExitStack() as stack:
            pieces = None
            if device == "cpu" and dtype == torch.float32:
                precision = self._enter_precision(stack)
                if precision != "bfloat16" and not self._is_computed_again and can_pack(self.model):
                    pieces, features = self._packed_pieces(inputs, features)
            elif self._predicted == "bfloat16" and not torch.is_grad_enabled():
                stack.enter_context(torch.autocast(device, dtype=torch.bfloat16))
            if pieces is None:
                pieces = self._padded_pieces(inputs)
        return self._pool(pieces, features).to(dtype)

    @property
    def _is_computed_again(self) -> bool:
        """Whether layers are computed once more, outside, for their gradients."""
        return torch.is_grad_enabled() and self._checkpointing

    def _packed_pieces(
        self, inputs: dict[str, torch.Tensor], features: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the vectors of what is pooled, (1, n, D), and the batch with positions among them.

        Not in bfloat16: oneDNN makes code for each number of rows, and there are more of them than of shapes.
        """
        used = {name: features[name] for name in self._read}
        read = torch.unique(torch.cat([positions.flatten() for positions in used.values()]))
        vectors = packed_vectors(self.model, inputs, read)
        return vectors[None], features | {name: torch.searchsorted(read, each) for name, each in used.items()}

    def _padded_pieces(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the vectors of all wordpieces. Shape: (S, T, D)."""

        def vectors(**some: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.model(**some).last_hidden_state
            return found

        if self._sees_padding:  # FNet mixes all places, the convolutions of ConvBERT neighbours
            return in_runs(vectors, inputs, unpadded=True)
        is_worth_it = inputs["input_ids"].device.type == "cpu" and not torch.is_grad_enabled()
        return in_runs(vectors, inputs) if is_worth_it else vectors(**inputs)

    def _enter_precision(self, stack: ExitStack) -> PredictionPrecision | CpuPrecision:
        """Compute as ``precision`` says until the stack is left; nothing else in the process is changed by it."""
        precision = self._precision if self._predicted is None or torch.is_grad_enabled() else self._predicted
        if precision == "int8":
            stack.enter_context(Int8Kernels())
        elif precision == "bfloat16":
            stack.enter_context(torch.autocast("cpu", dtype=torch.bfloat16))
            if has_cpu_kernels() and not self._is_computed_again:
                stack.enter_context(CpuKernels())
        else:
            if precision == "medium":
                stack.enter_context(medium_matmul)
            if not self._is_computed_again:
                stack.enter_context(Float32Kernels())
        return precision

    def make_gradients_sparse(self) -> None:
        """Have gradients for those rows of the wordpieces' embeddings alone that a batch reads."""
        words = self.model.get_input_embeddings()  # type: ignore[operator]
        if isinstance(words, nn.Embedding):
            words.sparse = True

    def compute_in(self, precision: str) -> None:
        """Compute in ``fp32``, ``bf16`` or ``int8`` where no gradient is wanted. Raises ConfigError where it cannot."""
        config: Any = self.model.config
        self._predicted = prediction_precision(precision, config.model_type, next(self.model.parameters()).device)

    def exportable(self) -> nn.Module:
        """Return model and pooling, with LoRA's matrices merged into the weights."""
        model: Any = self.model
        if hasattr(model, "merge_and_unload"):
            model = copy.deepcopy(model).merge_and_unload()
        return _Exportable(model, self._pool)

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return optimizer groups: no weight decay on biases and norms, layer-wise learning rates."""
        return parameter_groups(self.model, learning_rate, weight_decay, self._layer_decay)

    def save(self, folder: Path) -> None:
        """Write the tokenizer and the model's config, without weights."""
        self.tokenizer.save(folder)
        self.model.config.save_pretrained(folder)  # type: ignore[union-attr, operator]

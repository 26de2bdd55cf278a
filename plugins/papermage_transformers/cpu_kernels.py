"""Faster linear layers, attention and dropout on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from papermage_transformers.attention import attention
from papermage_transformers.cpu import has_bfloat16
from papermage_transformers.kernel_mode import KernelMode, PackedWeights, constant_linear

__all__ = ["CpuKernels", "Float32Kernels", "has_cpu_kernels"]

_ROWS = 1024
"""Rows of the inputs that weights are laid out for."""


@cache
def has_cpu_kernels() -> bool:
    """Whether this CPU and this torch have what `CpuKernels` is made of."""
    has_operators = all(hasattr(torch.ops.mkldnn, name) for name in ("_linear_pointwise", "_reorder_linear_weight"))
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_bfloat16() and available and has_operators


class Float32Kernels(KernelMode):
    """While it is entered, attention of few wordpieces runs faster, and dropout draws fewer random numbers.

    No model is changed. What checkpoints its activations must run without: it would be computed again outside.
    """

    def compute(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
        """Return what dropout or attention gives."""
        if func is F.dropout:
            return _dropout(*args, **kwargs)
        return attention(*args, **kwargs) if func is F.scaled_dot_product_attention else None


class CpuKernels(Float32Kernels):
    """While it is entered, linear layers on bfloat16 run faster too; the results differ by rounding alone.

    torch lays the weights of a linear layer out anew for each product, after converting them: here that is done once a
    weight, where no gradient is wanted.
    """

    def compute(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
        """Return what a linear layer, dropout or attention gives."""
        found = None if torch.is_grad_enabled() else constant_linear(func, args, kwargs)
        return super().compute(func, args, kwargs) if found is None else _linear(*found)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the linear layer's output in bfloat16."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(
        x.to(torch.bfloat16), *_packed.of(weight, bias), "none", [], ""
    )
    return product


def _pack(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    laid_out = torch.ops.mkldnn._reorder_linear_weight(weight.to(torch.bfloat16), _ROWS)
    return laid_out, None if bias is None else bias.to(torch.bfloat16)


_packed = PackedWeights(_pack)


def _dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor | None:
    """Return x with a share of its values set to zero, or None where torch is to do it.

    Four values share a random number, with 16 bits each: torch draws one number a value, on one thread.
    """
    if not training or inplace or not 0 < p < 1 or x.device.type != "cpu":
        return None
    drawn = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None).view(torch.int16)
    keep = drawn[: x.numel()].view(x.shape) >= round(p * (1 << 16)) - (1 << 15)
    return x * (keep.to(x.dtype) / (1 - p))

"""Linear layers in int8, for predictions on a CPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from papermage_transformers.attention import attention
from papermage_transformers.kernel_mode import KernelMode, PackedWeights, constant_linear

__all__ = ["Int8Kernels", "has_int8_kernels"]


_LARGEST = 63
"""Of a weight: two products with 255 fit in 16 bits."""


@cache
def has_int8_kernels() -> bool:
    """Whether this torch has FBGEMM's products of int8, which want AVX2."""
    return "fbgemm" in torch.backends.quantized.supported_engines and all(
        hasattr(torch.ops.quantized, name) for name in ("linear_dynamic", "linear_prepack")
    )


class Int8Kernels(KernelMode):
    """While it is entered, linear layers of float32 multiply in int8 where no gradient is wanted. No model is changed.

    Weights have a scale for each output, inputs one for each call. Weights have seven bits: with eight, instructions of
    processors without VNNI saturate. What comes out is float32, and all else is computed in it, attention too.
    """

    def compute(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
        """Return the product of a linear layer, or attention."""
        found = None if torch.is_grad_enabled() else constant_linear(func, args, kwargs)
        if found is None or found[0].dtype != torch.float32:
            return attention(*args, **kwargs) if func is F.scaled_dot_product_attention else None
        x, weight, bias = found
        product: Tensor = torch.ops.quantized.linear_dynamic(x, _packed.of(weight, bias), reduce_range=False)
        return product


def _pack(weight: Tensor, bias: Tensor | None) -> Any:
    scales = weight.abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny).double() / _LARGEST
    zeros = torch.zeros(len(weight), dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # quantized tensors will go from torch
        quantized = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        return torch.ops.quantized.linear_prepack(quantized, bias)


_packed = PackedWeights(_pack)

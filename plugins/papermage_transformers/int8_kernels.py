"""Linear layers in int8, for predictions on a CPU."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from papermage_transformers.attention import attention
from papermage_transformers.kernel_mode import KernelMode, PackedWeights, constant_linear, linears

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

    def compute(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Return the product of a linear layer, those of several, or attention."""
        if torch.is_grad_enabled():
            return None
        if func is linears:
            return self._several(*args, **kwargs)
        if func is F.linear:
            products = _products([constant_linear(func, args, kwargs)])
            return None if products is None else products[0]
        return attention(*args, **kwargs) if func is F.scaled_dot_product_attention else None

    def _several(self, x: Tensor, *layers: nn.Linear, with_gelu: bool) -> tuple[Tensor, ...] | None:
        return _products([constant_linear(F.linear, (x, each.weight, each.bias), {}) for each in layers], with_gelu)


def _products(
    of: Sequence[tuple[Tensor, nn.Parameter, Tensor | None] | None], with_gelu: bool = False
) -> tuple[Tensor, ...] | None:
    """Return the products of one input with weights, or None where one of them is torch's to compute."""
    operands = [each for each in of if each is not None and each[0].dtype == torch.float32]
    if len(operands) < len(of):
        return None
    packed = [_packed.of(weight, bias) for _, weight, bias in operands]
    x = packed[0].quantize(operands[0][0])
    return tuple(each.multiply(x, with_gelu) for each in packed)


class _Weights(ABC):
    """Quantized weights with their bias, laid out for products."""

    @abstractmethod
    def __init__(self, weight: Tensor, bias: Tensor | None) -> None: ...

    @abstractmethod
    def quantize(self, x: Tensor) -> Any:
        """Return an input as `multiply` takes it."""

    @abstractmethod
    def multiply(self, x: Any, with_gelu: bool) -> Tensor:
        """Return the linear layer's output, through GELU or not."""


class _Fbgemm(_Weights):
    """Weights as FBGEMM multiplies with them."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._packed = torch.ops.quantized.linear_prepack(weight, bias)

    def quantize(self, x: Tensor) -> Tensor:
        return x  # done in the product

    def multiply(self, x: Tensor, with_gelu: bool) -> Tensor:
        product: Tensor = torch.ops.quantized.linear_dynamic(x, self._packed, reduce_range=False)
        return F.gelu(product) if with_gelu else product


class _OneDnn(_Weights):
    """Weights as oneDNN multiplies with them, which computes GELU while the product is at hand."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        packed = torch.ops.onednn.qlinear_prepack(weight.int_repr(), None)
        zeros = torch.zeros(len(weight), dtype=torch.int64)
        self._packed = packed, weight.q_per_channel_scales().float(), zeros, bias

    def quantize(self, x: Tensor) -> tuple[Tensor, float, int]:
        """Return an input's codes, their scale, and the code of zero."""
        quantized = torch.quantize_per_tensor_dynamic(x.contiguous(), torch.quint8, False)
        codes = torch.empty(0, dtype=torch.uint8).set_(
            quantized.untyped_storage(), 0, quantized.shape, quantized.stride()
        )  # not a copy
        return codes, quantized.q_scale(), quantized.q_zero_point()

    def multiply(self, x: tuple[Tensor, float, int], with_gelu: bool) -> Tensor:
        after = "gelu" if with_gelu else "none"
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            *x, *self._packed, 1.0, 0, torch.float32, after, [], "none"
        )
        return product


@cache
def _kind() -> type[_Weights]:
    """Return what is faster here: without AVX512 oneDNN, a tenth, where this torch offers its operators."""
    if torch.backends.cpu.get_cpu_capability() != "AVX2":
        return _Fbgemm
    try:
        tried = _quantized_by(_OneDnn, torch.ones(1, 1), torch.ones(1))
        tried.multiply(tried.quantize(torch.ones(1, 1)), with_gelu=True)
    except (AttributeError, RuntimeError):  # they are internal to torch, and may change or be left out
        return _Fbgemm
    return _OneDnn


def _pack(weight: Tensor, bias: Tensor | None) -> _Weights:
    return _quantized_by(_kind(), weight, bias)


def _quantized_by(kind: type[_Weights], weight: Tensor, bias: Tensor | None) -> _Weights:
    scales = weight.abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny).double() / _LARGEST
    zeros = torch.zeros(len(weight), dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # quantized tensors will go from torch
        return kind(torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8), bias)


_packed = PackedWeights(_pack)

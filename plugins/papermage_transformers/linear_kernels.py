"""Linear layers whose weights are laid out once, in float32 or in int8, for predictions on a CPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Literal

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

__all__ = ["LinearKernels", "has_float32_kernels", "has_int8_kernels"]

_ROWS = 1024
"""Rows of the inputs that weights are laid out for."""


@cache
def has_float32_kernels() -> bool:
    """Whether this torch has oneDNN's products of weights that are laid out before."""
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and all(
        hasattr(torch.ops.mkldnn, name) for name in ("_linear_pointwise", "_reorder_linear_weight")
    )


@cache
def has_int8_kernels() -> bool:
    """Whether this torch has FBGEMM's products of int8, which want AVX2."""
    return "fbgemm" in torch.backends.quantized.supported_engines and all(
        hasattr(torch.ops.quantized, name) for name in ("linear_dynamic", "linear_prepack")
    )


class LinearKernels(TorchFunctionMode):
    """While it is entered, linear layers of float32 run faster where no gradient is wanted. No model is changed.

    In ``float32``, what torch does at each product is done once a weight; the results differ by rounding alone. In
    ``int8``, weights have a scale for each output and inputs one for each call, of seven bits, since instructions of
    processors without VNNI saturate at eight; what comes out is float32, and all else is computed in it.
    """

    def __init__(self, precision: Literal["float32", "int8"]) -> None:
        super().__init__()
        self._pack, self._multiply = (_pack, _multiply) if precision == "float32" else (_pack_int8, _multiply_int8)
        self._packed = _packed[precision]

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.linear and not kwargs and len(args) == 3 and not torch.is_grad_enabled():
            x, weight, bias = args
            if isinstance(weight, nn.Parameter) and x.dtype == torch.float32 and x.device.type == "cpu" and x.numel():
                return self._linear(x, weight, bias)
        return func(*args, **kwargs)

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        state = tuple(at for each in (weight, bias) if each is not None for at in (each._version, each.data_ptr()))
        found = self._packed.get(weight)
        if found is None or found.state != state:
            plain = None if bias is None else bias.detach()
            found = self._packed[weight] = _Packed(self._pack(weight.detach(), plain), plain, state)
        return self._multiply(x, found.weight, found.bias)


@attrs.frozen(eq=False)
class _Packed:
    """A weight as products want it, and what tells whether it is still the weight's."""

    weight: Any
    bias: Tensor | None
    state: tuple[int, ...]


_packed: Mapping[str, Any] = {"float32": WeakTensorKeyDictionary(), "int8": WeakTensorKeyDictionary()}


def _pack(weight: Tensor, bias: Tensor | None) -> Any:
    return torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)


def _multiply(x: Tensor, packed: Any, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    return product


def _pack_int8(weight: Tensor, bias: Tensor | None) -> Any:
    scales = weight.abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny).double() / 127
    zeros = torch.zeros(len(weight), dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # quantized tensors will go from torch
        quantized = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        return torch.ops.quantized.linear_prepack(quantized, bias)


def _multiply_int8(x: Tensor, packed: Any, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.quantized.linear_dynamic(x, packed, reduce_range=True)
    return product

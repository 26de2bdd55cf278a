"""Linear layers in int8, for predictions on a CPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

__all__ = ["Int8Kernels", "has_int8_kernels"]


_LARGEST = 63
"""Of a weight: two products with 255 fit in 16 bits."""


@cache
def has_int8_kernels() -> bool:
    """Whether this torch has FBGEMM's products of int8, which want AVX2."""
    return "fbgemm" in torch.backends.quantized.supported_engines and all(
        hasattr(torch.ops.quantized, name) for name in ("linear_dynamic", "linear_prepack")
    )


class Int8Kernels(TorchFunctionMode):
    """While it is entered, linear layers of float32 multiply in int8 where no gradient is wanted. No model is changed.

    Weights have a scale for each output, inputs one for each call. Weights have seven bits: with eight, instructions of
    processors without VNNI saturate. What comes out is float32, and all else is computed in it.
    """

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
                return _linear(x, weight, bias)
        return func(*args, **kwargs)


@attrs.frozen(eq=False)
class _Packed:
    """A weight and its bias as products want them, and what tells whether they are still those."""

    parameters: Any
    state: tuple[int, ...]


_packed: Any = WeakTensorKeyDictionary()


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    state = tuple(at for each in (weight, bias) if each is not None for at in (each._version, each.data_ptr()))
    found = _packed.get(weight)
    if found is None or found.state != state:
        found = _packed[weight] = _Packed(_pack(weight.detach(), None if bias is None else bias.detach()), state)
    product: Tensor = torch.ops.quantized.linear_dynamic(x, found.parameters, reduce_range=False)
    return product


def _pack(weight: Tensor, bias: Tensor | None) -> Any:
    scales = weight.abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny).double() / _LARGEST
    zeros = torch.zeros(len(weight), dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # quantized tensors will go from torch
        quantized = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        return torch.ops.quantized.linear_prepack(quantized, bias)

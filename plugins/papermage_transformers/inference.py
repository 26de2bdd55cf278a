"""Faster products of bfloat16 matrices on a CPU, where no gradient is wanted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from papermage_transformers.processor import has_bfloat16

__all__ = ["FastProducts", "has_fast_products"]

_LONG = 192
"""Wordpieces from which attention by whole products is the faster one."""
_ROWS = 1024
"""Rows of the inputs that weights are laid out for."""


@cache
def has_fast_products() -> bool:
    """Whether this processor and this torch have what `FastProducts` is made of."""
    has_operators = all(hasattr(torch.ops.mkldnn, name) for name in ("_linear_pointwise", "_reorder_linear_weight"))
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_bfloat16() and available and has_operators


class FastProducts(TorchFunctionMode):
    """While it is entered, linear layers and attention on bfloat16 run faster; the results differ by rounding alone.

    torch lays the weights of a linear layer out anew for each product, after converting them: here that is done once a
    weight. Its fused attention works on small blocks; here each window's heads are multiplied at once, into memory that
    is used again, which takes about half its time from 200 wordpieces on. No model is changed.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        found = None
        if func is F.linear and not kwargs and len(args) == 3:
            found = _linear(*args)
        elif func is F.scaled_dot_product_attention and _is_plain(*args, **kwargs):
            found = _attention(*args, **kwargs)
        return func(*args, **kwargs) if found is None else found


@attrs.frozen(eq=False)
class _Packed:
    """A weight in the layout that products want, and what tells whether it is still the weight's."""

    weight: Tensor
    bias: Tensor | None
    state: tuple[int, ...]


_packed: Any = WeakTensorKeyDictionary()


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
    """Return the linear layer's output in bfloat16, or None where torch is to do it."""
    if not isinstance(weight, nn.Parameter) or x.device.type != "cpu" or not x.numel() or weight.is_inference():
        return None
    state = _state(weight) + (_state(bias) if bias is not None else ())
    found = _packed.get(weight)
    if found is None or found.state != state:
        found = _packed[weight] = _pack(weight, bias, state)
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x.to(torch.bfloat16), found.weight, found.bias, "none", [], "")
    return product


def _state(parameter: Tensor) -> tuple[int, ...]:
    return parameter._version, parameter.data_ptr()


def _pack(weight: Tensor, bias: Tensor | None, state: tuple[int, ...]) -> _Packed:
    laid_out = torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(torch.bfloat16), _ROWS)
    return _Packed(laid_out, None if bias is None else bias.detach().to(torch.bfloat16), state)


def _is_plain(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **others: Any,
) -> bool:
    return (
        query.device.type == "cpu"
        and query.dtype == key.dtype == value.dtype == torch.bfloat16
        and query.ndim == 4
        and query.shape[:2] == key.shape[:2] == value.shape[:2]
        and key.shape[2] >= _LONG
        and dropout_p == 0.0
        and not is_causal
        and not others.get("enable_gqa", False)
    )


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **others: Any,
) -> Tensor:
    """Return softmax(scale · Q Kᵀ + mask) V, window by window. Shapes (B, H, T, E), (B, H, S, E), (B, H, S, D)."""
    batch, heads, length, size = query.shape
    query = query * (1 / math.sqrt(size) if scale is None else scale)
    out = query.new_empty(batch, length, heads, value.shape[3]).transpose(1, 2)
    weights = query.new_empty(heads, length, key.shape[2])
    masks = None if attn_mask is None else attn_mask.expand(batch, -1, -1, -1)
    for i in range(batch):
        torch.bmm(query[i], key[i].transpose(1, 2), out=weights)
        if masks is not None:
            _mask(weights, masks[i])
        torch.softmax(weights, -1, out=weights)
        out[i] = torch.bmm(weights, value[i])
    return out


def _mask(weights: Tensor, mask: Tensor) -> None:
    if mask.dtype != torch.bool:
        weights += mask
    elif not mask.all():
        weights.masked_fill_(~mask, torch.finfo(weights.dtype).min)

"""Faster linear layers, attention and dropout in bfloat16 on a CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from papermage_transformers.cpu import has_bfloat16
from papermage_transformers.kernel_mode import KernelMode, PackedWeights, constant_linear

__all__ = ["CpuDropout", "CpuKernels", "has_cpu_kernels"]

_LONG = 192
"""Wordpieces from which attention by whole products is the faster one."""
_MOST = 1 << 25
"""Weights of attention, over all heads and windows, that a layer keeps for its gradient at most: 64 MB."""
_ROWS = 1024
"""Rows of the inputs that weights are laid out for."""


@cache
def has_cpu_kernels() -> bool:
    """Whether this CPU and this torch have what `CpuKernels` is made of."""
    has_operators = all(hasattr(torch.ops.mkldnn, name) for name in ("_linear_pointwise", "_reorder_linear_weight"))
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_bfloat16() and available and has_operators


class CpuDropout(KernelMode):
    """While it is entered, dropout draws fewer random numbers, in training in float32."""

    def compute(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
        """Return the values that dropout leaves."""
        return _dropout(*args, **kwargs) if func is F.dropout else None


class CpuKernels(KernelMode):
    """While it is entered, linear layers and attention on bfloat16 run faster; the results differ by rounding alone.

    torch lays the weights of a linear layer out anew for each product, after converting them: here that is done once a
    weight, where no gradient is wanted. Its fused attention works on small blocks; here each window's heads are
    multiplied at once, which takes about half its time from 200 wordpieces on. What is computed with a gradient keeps
    the weights of attention, for a backward pass of four products (Dao et al., 2022, give the formulas). Dropout draws
    fewer random numbers.

    No model is changed. What checkpoints its activations must run without: it would be computed again outside.
    """

    def compute(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
        """Return what a linear layer, dropout or attention gives."""
        if func is F.dropout:
            return _dropout(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            return _attention(*args, **kwargs)
        found = None if torch.is_grad_enabled() else constant_linear(func, args, kwargs)
        return None if found is None else _linear(*found)


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


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **others: Any,
) -> Tensor | None:
    """Return softmax(scale · Q Kᵀ + mask) V, or None where torch is to do it.

    Shapes (B, H, T, E), (B, H, S, E), (B, H, S, D), of the mask four axes too. A mask that is learnt is left to torch.
    """
    plain = (
        query.device.type == "cpu"
        and query.dtype == key.dtype == value.dtype == torch.bfloat16
        and query.ndim == 4
        and query.shape[:2] == key.shape[:2] == value.shape[:2]
        and key.shape[2] >= _LONG
        and dropout_p == 0.0
        and not is_causal
        and not others.get("enable_gqa", False)
        and (attn_mask is None or (attn_mask.ndim == 4 and not attn_mask.requires_grad))
        and not (torch.is_grad_enabled() and query[..., 0].numel() * key.shape[2] > _MOST)
    )
    if not plain:
        return None
    scaled = query * (1 / math.sqrt(query.shape[3]) if scale is None else scale)
    masks = None if attn_mask is None else attn_mask.expand(len(query), -1, -1, -1)
    if torch.is_grad_enabled():
        found: Tensor = _Attention.apply(scaled, key, value, masks)  # type: ignore[no-untyped-call]
        return found
    weights = query.new_empty(1, *query.shape[1:3], key.shape[2])
    return _attend(scaled, key, value, masks, weights.expand(len(query), -1, -1, -1))


def _attend(query: Tensor, key: Tensor, value: Tensor, masks: Tensor | None, weights: Tensor) -> Tensor:
    """Return the attention, window by window; ``weights`` (B, H, T, S) takes what each unit attends with."""
    batch, heads, length, _ = query.shape
    out = query.new_empty(batch, length, heads, value.shape[3]).transpose(1, 2)
    for i, own in enumerate(weights):
        torch.bmm(query[i], key[i].transpose(1, 2), out=own)
        if masks is not None:
            _mask(own, masks[i])
        torch.softmax(own, -1, out=own)
        out[i] = torch.bmm(own, value[i])
    return out


class _Attention(torch.autograd.Function):
    """Keeps the weights for the backward pass, which then is four products a window."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, masks: Tensor | None) -> Tensor:
        weights = query.new_empty(*query.shape[:3], key.shape[2])
        out = _attend(query, key, value, masks, weights)
        ctx.save_for_backward(query, key, value, weights, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights, out = ctx.saved_tensors
        of_query, of_key, of_value = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
        of_scores = weights.new_empty(weights.shape[1:])
        for i, own in enumerate(weights):
            of_value[i] = torch.bmm(own.transpose(1, 2), gradient[i])
            torch.bmm(gradient[i], value[i].transpose(1, 2), out=of_scores)
            of_scores -= (gradient[i].float() * out[i].float()).sum(-1, keepdim=True)
            of_scores *= own
            of_query[i] = torch.bmm(of_scores, key[i])
            of_key[i] = torch.bmm(of_scores.transpose(1, 2), query[i])
        return of_query, of_key, of_value, None


def _mask(weights: Tensor, mask: Tensor) -> None:
    if mask.dtype != torch.bool:
        weights += mask
    elif not mask.all():
        weights.masked_fill_(~mask, torch.finfo(weights.dtype).min)

"""Attention on a CPU by whole products, where torch's fused attention, which works on small blocks, is slower."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["SHORT", "attention"]

_LONG = 192
"""Wordpieces from which whole products of bfloat16 are faster: half torch's time from 200 on."""
_MOST = 1 << 25
"""Weights of attention, over all heads and windows, that a layer keeps for its gradient at most: 64 MB."""
SHORT = 96
"""Wordpieces up to which whole products of float32 are faster: half torch's time up to 40."""


def attention(
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
        and query.dtype == key.dtype == value.dtype
        and query.ndim == 4
        and query.shape[:2] == key.shape[:2] == value.shape[:2]
        and dropout_p == 0.0
        and not is_causal
        and not others.get("enable_gqa", False)
        and (attn_mask is None or (attn_mask.ndim == 4 and not attn_mask.requires_grad))
    )
    if not plain:
        return None
    scale = 1 / math.sqrt(query.shape[3]) if scale is None else scale
    length = key.shape[2]
    if query.dtype == torch.float32 and length <= SHORT and not torch.is_autocast_enabled("cpu"):
        return _short(query, key, value, attn_mask, scale)
    too_much = torch.is_grad_enabled() and query[..., 0].numel() * length > _MOST
    if query.dtype == torch.bfloat16 and length >= _LONG and not too_much:
        return _long(query, key, value, attn_mask, scale)
    return None


def _short(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Return the attention of all windows and heads at once."""
    q, k, v = (each.flatten(0, 1) for each in (query, key, value))
    if mask is None:
        scores = torch.bmm(q * scale, k.transpose(1, 2))
    else:
        least = torch.finfo(q.dtype).min  # not minus infinity, which would make what sees nothing no number
        added = torch.where(mask, 0.0, least) if mask.dtype == torch.bool else mask.to(q.dtype).clamp_min(least)
        added = added.expand(*query.shape[:2], -1, -1).flatten(0, 1)
        scores = torch.baddbmm(added, q, k.transpose(1, 2), alpha=scale)
    return torch.bmm(scores.softmax(-1), v).view(*query.shape[:3], -1)


def _long(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Return the attention window by window.

    What is computed with a gradient keeps the weights of attention, for a backward pass of four products (Dao et al.,
    2022, give the formulas).
    """
    scaled = query * scale
    masks = None if mask is None else mask.expand(len(query), -1, -1, -1)
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

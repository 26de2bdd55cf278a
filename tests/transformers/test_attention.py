"""Attention of few wordpieces in float32: that of the formula, and its gradient; all else is torch's."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch.nn import functional as F

from papermage_transformers.attention import attention
from papermage_transformers.cpu_kernels import Float32Kernels
from papermage_transformers.int8_kernels import Int8Kernels

LENGTH = 11


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def inputs(length=LENGTH):
    """Queries, keys and values as a model gives them, its heads taken apart; keys and values of another length."""
    lengths = (length, length + 2, length + 2)
    return [normal(3, n, 4, 8 + i).transpose(1, 2)[..., :8] for i, n in enumerate(lengths)]


def formula(query, key, value, mask, scale):
    scores = query @ key.transpose(2, 3) * scale
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1) @ value


MASKS = {
    "none": None,
    "padding": (torch.arange(LENGTH + 2) < torch.tensor([LENGTH + 2, 5, 1])[:, None])[:, None, None],
    "of queries": ((torch.arange(LENGTH)[:, None] - torch.arange(LENGTH + 2)).abs() < 3)[None, None],
    "of heads": normal(3, 4, LENGTH, LENGTH + 2) > -0.5,
    "added": normal(1, 4, LENGTH, LENGTH + 2),
    "added, minus infinity": torch.zeros(3, 1, 1, LENGTH + 2).index_fill_(3, torch.tensor([0, 4]), -torch.inf),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("scale", [None, 0.7])
def test_attention_and_its_gradient_are_those_of_the_formula(mask, scale):
    given = [x.requires_grad_() for x in inputs()]
    exact = [x.detach().double().requires_grad_() for x in given]
    got = attention(*given, attn_mask=mask, scale=scale)
    wanted = formula(*exact, mask if mask is None or mask.dtype == torch.bool else mask.double(), scale or 8**-0.5)
    weigh = normal(*wanted.shape)
    (got * weigh).sum().backward()
    (wanted * weigh.double()).sum().backward()
    torch.testing.assert_close(got.double(), wanted, atol=1e-6, rtol=1e-5)
    for mine, theirs in zip(given, exact, strict=True):
        torch.testing.assert_close(mine.grad.double(), theirs.grad, atol=1e-5, rtol=1e-4)


def test_what_sees_nothing_is_a_number():
    nothing = torch.zeros(3, 1, LENGTH, LENGTH + 2, dtype=torch.bool)
    for mask in (nothing, torch.full(nothing.shape, -torch.inf)):
        assert attention(*inputs(), attn_mask=mask).isfinite().all()


@pytest.mark.parametrize("mode", [Float32Kernels, Int8Kernels])
def test_a_mode_has_it_where_windows_are_short(mode):
    with torch.no_grad(), mode():
        short = F.scaled_dot_product_attention(*inputs())
        long = F.scaled_dot_product_attention(*inputs(500))
    assert torch.equal(short, attention(*inputs()))
    assert torch.equal(long, F.scaled_dot_product_attention(*inputs(500)))


FLAT = normal(LENGTH, LENGTH + 2)


@pytest.mark.parametrize("options", [{"dropout_p": 0.5}, {"is_causal": True}, {"attn_mask": FLAT}])
def test_what_is_not_plain_is_left_to_torch(options):
    assert attention(*inputs(), **options) is None


def test_what_is_not_float32_and_what_autocast_rounds_are_left_to_torch():
    assert attention(*(x.double() for x in inputs())) is None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert attention(*inputs()) is None


def test_a_mask_that_is_learnt_gets_its_gradient():
    gradients = []
    for mode in (nullcontext(), Float32Kernels()):
        mask = normal(3, 4, LENGTH, LENGTH + 2).requires_grad_()
        with mode:
            F.scaled_dot_product_attention(*inputs(), attn_mask=mask).square().sum().backward()
        gradients.append(mask.grad)
    assert gradients[0].abs().sum() > 0
    assert torch.allclose(*gradients, atol=1e-6)

"""CPU kernels: the same results as torch's to bfloat16's rounding, of the weights as they are now."""

from __future__ import annotations

import copy
import pickle
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from papermage_core.errors import ConfigError
from papermage_transformers import attention as attention_module
from papermage_transformers.cpu_kernels import CpuKernels, has_cpu_kernels

pytestmark = pytest.mark.skipif(not has_cpu_kernels(), reason="this processor multiplies no bfloat16")


@pytest.fixture(autouse=True)
def matmul_precision():
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def attention(query, key, value, mask=None, scale=None):
    scores = query.double() @ key.double().transpose(2, 3) * (query.shape[3] ** -0.5 if scale is None else scale)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask.double()
    return scores.softmax(-1) @ value.double()


@pytest.mark.parametrize("length", [256, 16])
@pytest.mark.parametrize("masked", ["", "padding", "heads", "added"])
def test_attention_is_that_of_the_formula(length, masked):
    query = normal(3, 4, length, 8).bfloat16()
    key, value = (normal(3, 4, length + more, 8).bfloat16()[:, :, :length] for more in (1, 2))
    masks = {"": None}
    masks["padding"] = (torch.arange(length) < torch.tensor([length, length - 5, 7])[:, None])[:, None, None]
    masks["heads"] = normal(3, 4, length, length) > 0
    masks["added"] = normal(1, 1, length, length)
    mask = masks[masked]
    with torch.no_grad(), CpuKernels():
        got = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=0.3)
    assert torch.allclose(got.double(), attention(query, key, value, mask, 0.3), atol=0.03)


@pytest.mark.parametrize("masked", [False, True])
def test_the_gradient_of_attention_is_that_of_the_formula(masked):
    inputs = [normal(2, 3, 200 + i, 8).bfloat16()[:, :, :200].requires_grad_() for i in range(3)]
    mask = torch.ones(2, 1, 200, 200, dtype=torch.bool)
    mask[1, :, :, 150:] = not masked
    wanted_of = normal(2, 3, 200, 8)
    with CpuKernels():
        F.scaled_dot_product_attention(*inputs, attn_mask=mask).backward(wanted_of.bfloat16())
    exact = [x.detach().double().requires_grad_() for x in inputs]
    attention(*exact, mask).backward(wanted_of.double())
    for got, wanted in zip(inputs, exact, strict=True):
        error = (got.grad.double() - wanted.grad).norm() / wanted.grad.norm()
        assert error < 0.02


@pytest.mark.parametrize("checkpointing", [False, True])
def test_an_encoder_learns_as_with_torchs_own_attention(checkpointing, encoder, make_context, texts, monkeypatch):
    monkeypatch.setattr(attention_module, "_LONG", 8)
    gradients = []
    for precision in ("float32", "bfloat16"):
        made = encoder("bert", dropout=0.0, cpu_precision=precision, gradient_checkpointing=checkpointing).train()
        windows = [w for ws in made.windows([make_context(text) for text in texts], stride=0) for w in ws]
        made(made.collate(windows)).square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in made.parameters() if p.grad is not None]))
    assert (gradients[1] - gradients[0]).norm() < 0.05 * gradients[0].norm()


def test_a_mask_that_is_learnt_gets_its_gradient():
    query, key, value = (normal(1, 2, 200 + i, 8).bfloat16()[:, :, :200] for i in range(3))
    gradients = []
    for mode in (nullcontext(), CpuKernels()):
        mask = normal(1, 2, 200, 200).bfloat16().requires_grad_()
        with mode:
            F.scaled_dot_product_attention(query, key, value, attn_mask=mask).square().sum().backward()
        gradients.append(mask.grad)
    assert gradients[0].abs().sum() > 0
    assert torch.allclose(*gradients)


def test_a_window_alone_is_what_it_is_in_a_batch():
    query, key, value = (normal(3, 4, 200 + i, 8).bfloat16()[:, :, :200] for i in range(3))
    with torch.no_grad(), CpuKernels():
        together = F.scaled_dot_product_attention(query, key, value)
        alone = F.scaled_dot_product_attention(query[1:2], key[1:2], value[1:2])
    assert torch.equal(together[1:2], alone)


@pytest.mark.parametrize("case", ["dropout", "causal", "float32", "flat mask"])
def test_what_is_not_plain_is_left_to_torch(case):
    dtype = torch.float32 if case == "float32" else torch.bfloat16
    query, key, value = (normal(1, 2, 200 + i, 8).to(dtype)[:, :, :200] for i in range(3))
    options = {
        "dropout": {"dropout_p": 0.5},
        "causal": {"is_causal": True},
        "flat mask": {"attn_mask": normal(200, 200)},
    }
    options = options.get(case, {})
    found = []
    for mode in (False, True):
        torch.manual_seed(1)
        with torch.no_grad():
            if mode:
                with CpuKernels():
                    found.append(F.scaled_dot_product_attention(query, key, value, **options))
            else:
                found.append(F.scaled_dot_product_attention(query, key, value, **options))
    assert torch.equal(*found)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_dropout_drops_its_share_and_scales_the_rest(share):
    torch.manual_seed(3)
    x = torch.ones(301, 1001, dtype=torch.bfloat16, requires_grad=True)
    with CpuKernels():
        got = F.dropout(x, share, training=True)
        again = F.dropout(x, share, training=True)
        kept = F.dropout(x, share, training=False)
    got.sum().backward()
    n = x.numel()
    assert abs((got == 0).sum().item() / n - share) < 4 * (share * (1 - share) / n) ** 0.5 + 1e-5
    assert set(got.unique().tolist()) == {0.0, torch.tensor(1 / (1 - share)).bfloat16().item()}
    assert torch.equal(x.grad, got)
    both = ((got == 0) & (again == 0)).sum().item() / n
    assert abs(both - share**2) < 4 * (share**2 / n) ** 0.5
    beside = ((got[:, 1:] == 0) & (got[:, :-1] == 0)).float().mean().item()
    assert abs(beside - share**2) < 6 * (share**2 / n) ** 0.5
    assert torch.equal(kept, x)


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_follows_its_weights(bias):
    layer = nn.Linear(48, 32, bias=bias)
    x = normal(2, 5, 48)

    def close():
        with torch.no_grad(), CpuKernels():
            got = layer(x)
        assert got.dtype == torch.bfloat16
        return torch.allclose(got.float(), layer(x), atol=0.1, rtol=0.02)

    assert close()
    with torch.no_grad():
        layer.weight.add_(1.0)  # as an optimizer's step does
    assert close()
    layer.load_state_dict({name: value * 3 for name, value in layer.state_dict().items()})
    assert close()
    layer.weight.data = torch.zeros_like(layer.weight)
    assert close()
    if bias:
        layer.bias.data = torch.full_like(layer.bias, 7.0)
        assert close()


def test_an_encoder_gives_the_same_vectors_and_can_still_be_copied(family, encoder, make_context, texts):
    exact = encoder(family, dropout=0.0)
    quick = encoder(family, dropout=0.0, cpu_precision="auto")
    contexts = [make_context(text) for text in texts]
    windows = [w for ws in exact.windows(contexts, stride=0) for w in ws]
    batch = exact.collate(windows)
    trained = quick(batch)  # with a gradient: torch's own products
    assert trained.requires_grad
    with torch.inference_mode():
        got, wanted = quick(batch), exact(batch)
    assert torch.allclose(got, wanted, atol=0.15)
    assert (got - wanted).abs().mean() < 2 * (trained.detach() - wanted).abs().mean() + 1e-3
    for same in (copy.deepcopy(quick), pickle.loads(pickle.dumps(quick))):
        with torch.inference_mode():
            assert torch.equal(same(batch), got)


def test_a_model_that_fails_in_bfloat16_is_refused_it(encoder):
    with pytest.raises(ConfigError, match="cpu_precision: transformers' deberta models fail in bfloat16"):
        encoder("deberta", cpu_precision="bfloat16")

"""Linear layers in int8: torch's results to seven bits, of the weights as they are now."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from papermage_core.errors import ConfigError
from papermage_transformers import cpu, int8_kernels
from papermage_transformers.cpu import prediction_precision
from papermage_transformers.int8_kernels import Int8Kernels, has_int8_kernels
from papermage_transformers.kernel_mode import PackedWeights, linears

CPU = torch.device("cpu")
WANTS_INT8 = pytest.mark.skipif(not has_int8_kernels(), reason="no FBGEMM")


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.fixture(params=["_Fbgemm", "_OneDnn"])
def kind(request, monkeypatch):
    """What multiplies, whichever this machine would take."""
    made = getattr(int8_kernels, request.param)
    if made is int8_kernels._OneDnn and not hasattr(torch.ops.onednn, "qlinear_prepack"):
        pytest.skip("this torch has no products by oneDNN, and FBGEMM's are taken")
    monkeypatch.setattr(int8_kernels, "_kind", lambda: made)
    monkeypatch.setattr(int8_kernels, "_packed", PackedWeights(int8_kernels._pack))
    return made


@WANTS_INT8
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 40), (3, 5, 40), (0, 40)])
def test_a_product_is_that_of_the_formula(bias, shape, kind):
    layer, x = nn.Linear(40, 24, bias=bias), normal(*shape)
    with torch.inference_mode():
        wanted = x.double() @ layer.weight.double().T + (layer.bias.double() if bias else 0)
        with Int8Kernels():
            found = layer(x)
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), wanted, atol=0.05)


@WANTS_INT8
@pytest.mark.parametrize(
    ("capability", "fails", "wanted"),
    [
        ("AVX512", False, "_Fbgemm"),
        ("AVX2", False, "_OneDnn"),
        ("AVX2", True, "_Fbgemm"),
        ("DEFAULT", False, "_Fbgemm"),
    ],
)
def test_onednn_multiplies_without_avx512_where_torch_offers_it(capability, fails, wanted, monkeypatch):
    def multiply(self, x, with_gelu):
        if fails:
            raise RuntimeError("no such operator")
        return x[0]

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(int8_kernels._OneDnn, "multiply", multiply)
    assert int8_kernels._kind.__wrapped__().__name__ == wanted


@WANTS_INT8
@pytest.mark.parametrize("with_gelu", [False, True])
def test_linear_layers_of_one_input_are_computed_as_each_by_itself(with_gelu, kind):
    layers = [nn.Linear(40, size, bias=size > 8) for size in (8, 24, 16)]
    x = normal(30, 80)[:, ::2]  # not one block of memory
    after = F.gelu if with_gelu else nn.Identity()
    with torch.inference_mode(), Int8Kernels():
        wanted = [after(layer(x)) for layer in layers]
        found = linears(x, *layers, with_gelu=with_gelu)
    assert len(found) == 3
    for layer, one, other in zip(layers, found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-6)
        assert torch.allclose(one, after(layer(x)), atol=0.05)


@WANTS_INT8
def test_what_is_far_from_zero_and_what_is_all_zero_are_multiplied_alike(kind):
    layer = nn.Linear(64, 8, bias=False)
    layer.weight.data = layer.weight.data.sign()  # products of the largest codes must not saturate
    with torch.inference_mode(), Int8Kernels():
        for x in (torch.zeros(3, 64), torch.full((3, 64), 5.0), torch.full((3, 64), -7.0), normal(3, 64).abs() + 9):
            assert torch.allclose(layer(x), x @ layer.weight.T, rtol=0.02, atol=1.5)


@WANTS_INT8
def test_linear_layers_without_a_mode_are_torchs():
    layers, x = [nn.Linear(16, 8), nn.Linear(16, 4, bias=False)], normal(4, 16)
    for one, layer in zip(linears(x, *layers, with_gelu=True), layers, strict=True):
        assert torch.equal(one, F.gelu(layer(x)))


@WANTS_INT8
def test_the_weights_are_those_of_now(kind):
    layer, x = nn.Linear(16, 8), normal(4, 16)
    with torch.no_grad(), Int8Kernels():
        layer(x)
        for change in (
            lambda: layer.weight.mul_(-2),
            lambda: layer.bias.add_(1),
            lambda: layer.load_state_dict(nn.Linear(16, 8).state_dict()),
        ):
            change()
            found = layer(x)
            assert torch.allclose(found, x @ layer.weight.T + layer.bias, atol=0.1)
            assert torch.equal(copy.deepcopy(layer)(x), found)


@WANTS_INT8
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_parameters_made_for_inference_are_left_to_torch(name):
    layer, x = nn.Linear(16, 8), normal(4, 16)
    with torch.inference_mode():
        setattr(layer, name, nn.Parameter(getattr(layer, name).clone()))
        wanted = layer(x)
        with Int8Kernels():
            assert torch.equal(layer(x), wanted)


@WANTS_INT8
def test_what_wants_a_gradient_is_left_to_torch():
    layer, x = nn.Linear(16, 8), normal(4, 16)
    with Int8Kernels():
        found = layer(x)
        with torch.no_grad():
            doubled = F.linear(x.double(), layer.weight.double())
    assert torch.equal(found, F.linear(x, layer.weight, layer.bias))
    assert found.requires_grad
    assert doubled.dtype == torch.float64


@WANTS_INT8
def test_an_encoder_predicts_in_int8_and_goes_on_learning_in_float32(encoder, make_context, texts):
    made = encoder("bert", dropout=0.0)
    windows = [w for ws in made.windows([make_context(text) for text in texts], stride=0) for w in ws]
    features = made.collate(windows)
    with torch.no_grad():
        exact = made(features)
        made.compute_in("int8")
        rough = made(features)
        made.compute_in("fp32")
        again = made(features)
    made.compute_in("int8")
    learning = made(features)
    assert torch.equal(exact, again)
    assert not torch.equal(exact, rough)
    assert (exact - rough).norm() < 0.1 * exact.norm()
    assert torch.allclose(learning, exact, atol=1e-5)


def test_what_this_machine_cannot_do_is_refused(monkeypatch):
    assert prediction_precision("fp32", "deberta", CPU) == "float32"
    with pytest.raises(ConfigError, match="deberta models fail in bfloat16"):
        prediction_precision("bf16", "deberta", CPU)
    with pytest.raises(ConfigError, match="on the CPU alone"):
        prediction_precision("int8", "bert", torch.device("cuda"))
    assert prediction_precision("bf16", "bert", torch.device("cuda")) == "bfloat16"
    monkeypatch.setattr(cpu, "has_bfloat16", lambda: False)
    with pytest.raises(ConfigError, match="multiplies no bfloat16"):
        prediction_precision("bf16", "bert", CPU)
    monkeypatch.setattr(cpu, "has_int8_kernels", lambda: False)
    with pytest.raises(ConfigError, match="no products of int8"):
        prediction_precision("int8", "bert", CPU)


@pytest.mark.parametrize(("limit", "reads"), [("AVX2", False), ("avx512_core", False), ("DEFAULT", True), (None, True)])
def test_a_limit_of_the_environment_is_one_of_the_processor(limit, reads, monkeypatch):
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if limit is not None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    monkeypatch.setattr(cpu.Path, "is_file", lambda _: True)
    monkeypatch.setattr(cpu.Path, "read_text", lambda *_, **__: "flags : avx512_bf16 fpu\n")
    assert cpu.has_bfloat16.__wrapped__() is reads

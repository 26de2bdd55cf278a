"""Batches without padding, and a last layer of what is read alone: the vectors and gradients of the model itself."""

from __future__ import annotations

import copy
import importlib.util

import numpy as np
import pytest
import torch

from papermage_transformers import encoder as encoder_module
from papermage_transformers import packed
from papermage_transformers.packed import can_pack

PACKED = ["bert", "electra", "roberta"]
CHOICES = [  # (pooling, attention, precision)
    ("first", "sdpa", "float32"),
    ("last", "eager", "float32"),
    ("mean", "sdpa", "float32"),
    ("max", "sdpa", "float32"),
]


def contexts_of(make_context, texts, seed):
    """Contexts of many lengths, one a single word, one longer than a window, one with a word longer than one."""
    chance = np.random.default_rng(seed)
    words = " ".join(texts).split(" ")
    sizes = [1, *chance.integers(2, 30, 6).tolist(), 70]
    made = [[words[i] for i in chance.integers(0, len(words), size)] for size in sizes]
    made[3][0] = "(;" * 40
    return [make_context(each) for each in made]


def both_ways(made, batch, monkeypatch, with_gradient=True):
    """Vectors of units, and by name the gradients of a sum that weighs each otherwise: packed, and by the model."""
    found = []
    for packs in (True, False):
        with monkeypatch.context() as patch, torch.set_grad_enabled(with_gradient):
            if not packs:
                patch.setattr(encoder_module, "can_pack", lambda model: False)
            made.zero_grad()
            vectors = made(batch)
            real = torch.zeros(vectors.shape[:2], dtype=torch.bool)
            for row, count in enumerate(batch["n"]):
                real[row, :count] = True
            vectors = vectors[real]
            if with_gradient:
                weights = torch.linspace(-1, 2, vectors.numel()).sin().view_as(vectors)
                (vectors * weights).sum().backward()
        found.append((vectors.detach(), {name: p.grad for name, p in made.named_parameters() if p.grad is not None}))
    return found


def batch_of(made, contexts, stride=3):
    windows = [w for ws in made.windows(contexts, stride=stride) for w in ws]
    return made.collate(windows) | {"n": [w.stop - w.start for w in windows]}


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: "-".join(choice))
@pytest.mark.parametrize("short", [0, 96])
def test_vectors_and_all_gradients_are_the_models(kind, choice, short, encoder, make_context, texts, monkeypatch):
    pooling, attention, precision = choice
    monkeypatch.setattr(packed, "SHORT", short)  # whole products, or torch's attention
    made = encoder(kind, pooling=pooling, cpu_precision=precision, dropout=0.0).train()
    if hasattr(made.model, "set_attn_implementation"):  # of transformers 4.48, the one that it comes with
        made.model.set_attn_implementation(attention)
    assert can_pack(made.model)
    batch = batch_of(made, contexts_of(make_context, texts, len(pooling)))
    assert len(batch["input_ids"]) > len(batch["first"])  # a word goes on in further sequences
    (vectors, gradients), (expected, expected_gradients) = both_ways(made, batch, monkeypatch)
    torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=1e-4)
    assert gradients.keys() == expected_gradients.keys() == dict(made.named_parameters()).keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], atol=2e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("short", [0, 96])
def test_sequences_of_one_length(short, encoder, make_context, texts, monkeypatch):
    monkeypatch.setattr(packed, "SHORT", short)
    made = encoder("bert", pooling="first", dropout=0.0).train()
    batch = batch_of(made, [make_context("( ) ;"), make_context("; ; [")])
    assert batch["attention_mask"].all()
    (vectors, gradients), (expected, expected_gradients) = both_ways(made, batch, monkeypatch)
    torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=1e-4)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], atol=2e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("seed", range(4))
def test_without_a_gradient_in_float32_and_int8(seed, encoder, make_context, texts, monkeypatch):
    made = encoder("bert")
    batch = batch_of(made, contexts_of(make_context, texts, seed))
    (vectors, _), (expected, _) = both_ways(made, batch, monkeypatch, with_gradient=False)
    torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=1e-4)
    made.compute_in("int8")
    (in_int8, _), (plain_int8, _) = both_ways(made, batch, monkeypatch, with_gradient=False)
    assert not torch.equal(in_int8, expected)
    error, plain_error = ((each - expected).norm() for each in (in_int8, plain_int8))
    assert error < 1.2 * plain_error < 0.1 * expected.norm()


def test_private_names_of_torch_may_go(encoder, make_context, texts, monkeypatch):
    with monkeypatch.context() as patch:
        patch.delattr("torch._C.DisableTorchFunction")
        patch.delattr("torch._softmax_backward_data")
        spec = importlib.util.spec_from_file_location("packed_without", packed.__file__)
        without = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(without)
        patch.setattr(encoder_module, "packed_vectors", without.packed_vectors)
        made = encoder("bert", pooling="first", cpu_precision="float32", dropout=0.0).train()
        batch = batch_of(made, contexts_of(make_context, texts, 5))
        asked = []
        real = without._attend
        patch.setattr(without, "_attend", lambda *arguments: asked.append(1) or real(*arguments))
        (vectors, gradients), (expected, expected_gradients) = both_ways(made, batch, patch)
        made.eval().compute_in("int8")
        (in_int8, _), _ = both_ways(made, batch, patch, with_gradient=False)
    assert asked
    torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=1e-4)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], atol=2e-4, rtol=1e-3, msg=name)
    (with_them, _), _ = both_ways(made, batch, monkeypatch, with_gradient=False)
    assert torch.equal(in_int8, with_them)


def test_each_layer_computes_no_padding_and_the_last_what_is_read(encoder, make_context, texts):
    made = encoder("bert", pooling="first")
    batch = batch_of(made, contexts_of(make_context, texts, 1))
    seen = []
    for layer in made.model.encoder.layer:
        for part in (
            layer.attention.self.query,
            layer.attention.self.key,
            layer.intermediate.dense,
            layer.output.dense,
        ):
            part.register_forward_hook(lambda module, given, out: seen.append(len(out)))
    made(batch)
    pieces, read = int(batch["attention_mask"].sum()), len(batch["first"].unique())
    assert read < 0.8 * pieces < 0.8 * batch["input_ids"].numel()
    assert seen == [*[pieces] * 8, read, pieces, read, read]


def test_dropout_of_attention_is_drawn(encoder, make_context, texts):
    made = encoder("bert", dropout=0.0, attention_dropout=0.5)
    batch = batch_of(made, contexts_of(make_context, texts, 1))
    assert torch.equal(made(batch), made(batch))
    made.train()
    assert not torch.equal(made(batch), made(batch))


def test_only_models_that_are_known_and_as_they_were_are_packed(family, encoder):
    model = encoder(family).model
    assert can_pack(model) == (family in PACKED)
    if family not in PACKED:
        return
    hooked = copy.deepcopy(model)
    hooked.encoder.layer[1].attention.register_forward_hook(lambda *_: None)
    other = copy.deepcopy(model)
    other.encoder.layer[2] = torch.nn.Identity()
    decoder = copy.deepcopy(model)
    decoder.config.is_decoder = True
    empty = copy.deepcopy(model)
    empty.encoder.layer = torch.nn.ModuleList()
    assert not any(map(can_pack, (hooked, other, decoder, empty, type("Own", (type(model),), {})(model.config))))


def test_what_is_computed_again_for_its_gradient_is_left_to_the_model(encoder, make_context, texts, monkeypatch):
    made = encoder("bert", gradient_checkpointing=True).train()
    monkeypatch.setattr(encoder_module, "packed_vectors", None)
    made(batch_of(made, contexts_of(make_context, texts, 1))).sum().backward()

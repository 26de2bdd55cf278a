"""Every family of models, against the model itself run on what its own tokenizer makes of split words."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForTextEncoding, AutoTokenizer, GPT2Config

POOLS = {
    "first": lambda x: x[0],
    "last": lambda x: x[-1],
    "mean": lambda x: x.mean(0),
    "max": lambda x: x.amax(0),
}
SPECIAL_BOXES = {"layoutlm": ([0] * 4, [1000] * 4), "bros": ([0] * 4, [1] * 4)}


def random_boxes(n, seed=0):
    corners = np.sort(np.random.default_rng(seed).random((n, 2, 2), np.float32), axis=1)
    return corners.reshape(n, 4)


def oracle(folder, name, words, pooling, boxes=None):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    backend = tokenizer.backend_tokenizer
    if "ByteLevel" in str(backend.pre_tokenizer):
        backend.pre_tokenizer.add_prefix_space = True
    model = (AutoModelForTextEncoding if name in {"t5", "umt5"} else AutoModel).from_pretrained(folder).eval()
    encoded = tokenizer(words, is_split_into_words=True, return_tensors="pt", truncation=False)
    owners = encoded.word_ids()
    inputs = {"input_ids": encoded["input_ids"]}
    if "attention_mask" in inspect.signature(model.forward).parameters:
        inputs["attention_mask"] = encoded["attention_mask"]
    if boxes is not None:
        before, after = SPECIAL_BOXES.get(name, ([0] * 4, [0] * 4))
        scaled = boxes.tolist() if name == "bros" else (boxes * 1000).astype(int).tolist()
        middle = [scaled[i] for i in owners if i is not None]
        n_before = owners.index(0)
        n_after = len(owners) - n_before - len(middle)
        inputs["bbox"] = torch.tensor([[before] * n_before + middle + [after] * n_after])
    with torch.no_grad():
        hidden = model(**inputs).last_hidden_state[0]
    return torch.stack([
        POOLS[pooling](hidden[[p for p, owner in enumerate(owners) if owner == i]]) for i in range(len(words))
    ])  # fmt: skip


def vectors(encoder, contexts, stride=0):
    windows = [w for ws in encoder.windows(contexts, stride=stride) for w in ws]
    with torch.no_grad():
        return windows, encoder(encoder.collate(windows))


@pytest.mark.parametrize("pooling", list(POOLS))
def test_unit_vectors_are_those_of_the_plain_model(
    family, pooling, model_folder, encoder, make_context, texts, layout_families
):
    words = texts[0].split(" ")[:9]
    boxes = random_boxes(len(words)) if family in layout_families else None
    made = encoder(family, pooling=pooling)
    _, got = vectors(made, [make_context(words, boxes=boxes), make_context("a longer neighbour " * 4)])
    expected = oracle(model_folder(family), family, words, pooling, boxes)
    torch.testing.assert_close(got[0, : len(words)], expected, atol=2e-5, rtol=1e-4)


def test_batch_neighbours_order_and_padding_change_nothing(family, encoder, make_context, texts):
    made = encoder(family)
    contexts = [make_context(t) for t in texts]
    windows, together = vectors(made, contexts)
    with torch.no_grad():
        reverse = made(made.collate(windows[::-1])).flip(0)
    for i, window in enumerate(windows):
        n = window.stop - window.start
        with torch.no_grad():
            alone = made(made.collate([window]))[0, :n]
        torch.testing.assert_close(together[i, :n], alone, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(reverse[i, :n], alone, atol=2e-5, rtol=1e-4)


def test_gradients_reach_every_trained_parameter(family, encoder, make_context, texts, layout_families):
    made = encoder(family).train()
    boxes = random_boxes(100) if family in layout_families else None
    contexts = [make_context(t, boxes=None if boxes is None else boxes[: len(t.split(" "))]) for t in texts]
    windows = [w for ws in made.windows(contexts, stride=2) for w in ws]
    made(made.collate(windows)).square().sum().backward()
    trained = {name: p.grad for name, p in made.named_parameters() if p.requires_grad}
    assert [name for name, grad in trained.items() if grad is None or not grad.isfinite().all()] == []


def test_what_is_not_trained_has_no_gradient_where_it_is_asked_for(
    family, encoder, make_context, texts, layout_families
):
    made = encoder(family)
    frozen = {name for name, p in made.named_parameters() if not p.requires_grad}
    contexts = [make_context(t, boxes=random_boxes(t.count(" ") + 1)) for t in texts]
    made.requires_grad_(True)
    made(made.collate([w for ws in made.windows(contexts, stride=2) for w in ws])).square().sum().backward()
    assert {name for name, p in made.named_parameters() if p.grad is None} == frozen
    assert bool(frozen) == (family in {"layoutlmv3", "lilt", "longformer"})


def test_save_and_build_give_the_same_vectors_without_the_original_model(
    family, encoder, model_folder, make_context, texts, tmp_path
):
    from papermage_transformers.plugin import TransformerEncoderConfig

    made = encoder(family)
    config = TransformerEncoderConfig(model_name_or_path=str(model_folder(family)), cpu_precision="float32").settle([])
    made.save(tmp_path)
    again = config.build(tmp_path).eval()
    assert {p.suffix for p in tmp_path.iterdir()} <= {
        ".json",
        ".txt",
        ".model",
        ".jinja",
    }  # neither weights nor pickles
    again.load_state_dict(made.state_dict())
    contexts = [make_context(t) for t in texts]
    # to the last bits: torch 2.4 adds up in another order where memory is aligned otherwise
    torch.testing.assert_close(vectors(again, contexts)[1], vectors(made, contexts)[1], atol=2e-6, rtol=0)
    assert again.fingerprint == made.fingerprint


def test_long_contexts_are_covered_whole_and_within_the_models_length(family, encoder, make_context, texts):
    made = encoder(family)
    long = make_context(" ".join(texts * 4))
    [windows] = made.windows([long], stride=5)
    assert len(windows) > 1
    assert set().union(*(range(w.start, w.stop) for w in windows)) == set(range(len(long)))
    assert max(w.cost for w in windows) <= 62
    batch = made.collate(windows)
    assert batch["input_ids"].shape == (len(windows), max(w.cost for w in windows))
    assert vectors(made, [long], stride=5)[1].isfinite().all()


def built(folder, checkpoint=None):
    from papermage_transformers.plugin import TransformerEncoderConfig

    config = TransformerEncoderConfig(model_name_or_path=str(folder), cpu_precision="float32").settle([])
    return config.build(checkpoint)


def test_a_model_that_reads_in_both_directions_is_not_warned_of(family, model_folder, caplog):
    built(model_folder(family))
    assert "reads from left to right" not in caplog.text


def test_a_model_that_reads_in_one_direction_is_warned_of_when_training_begins(model_folder, tmp_path, caplog):
    tokenizer = AutoTokenizer.from_pretrained(model_folder("roberta"))
    tokenizer.save_pretrained(tmp_path)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=24, n_layer=2, n_head=4, n_positions=64)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    made = built(tmp_path)
    assert "reads from left to right" in caplog.text
    caplog.clear()
    saved = tmp_path / "saved"
    saved.mkdir()
    made.save(saved)
    built(tmp_path, saved)
    assert "reads from left to right" not in caplog.text

"""Windows, batches and the encoder as a whole."""

from __future__ import annotations

from itertools import pairwise

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from papermage_compact.batch import collate
from papermage_compact.plugin import CompactConfig
from papermage_compact.windowing import bounds
from papermage_core.plugin import Context

SMALL = {"width": 16, "rows": 256, "layout": "off"}


def text(*words):
    return Context(words=words, space_before=np.ones(len(words), bool))


def encoder(**options):
    torch.manual_seed(0)
    return CompactConfig(**{**SMALL, **options}).build().eval()


def vectors(model, contexts):
    windows = [window for found in model.windows(contexts, stride=0) for window in found]
    with torch.no_grad():
        return model(model.collate(windows))


@given(st.integers(0, 400), st.integers(16, 64), st.integers(0, 40))
def test_windows_cover_all_units_and_overlap_as_asked(length, longest, stride):
    overlap = min(stride, longest // 2)
    found = bounds(length, longest, overlap)
    assert {unit for start, stop in found for unit in range(start, stop)} == set(range(length))
    assert all(0 < stop - start <= longest for start, stop in found)
    assert all(a[1] - b[0] >= overlap and a[0] < b[0] for a, b in pairwise(found))
    assert len(found) <= max(1, -(-max(length - overlap, 1) // (longest - overlap)))


def test_a_stride_beyond_half_a_window_is_said_once(caplog):
    model = encoder(max_length=16)
    for stride in (8, 9, 30):
        model.windows([text(*"abcdefghijklmnopqrstuvwxyz")], stride=stride)
    assert [record.getMessage() for record in caplog.records] == [
        "stride=9 is too much for windows of 16 units (encoder.max_length): neighbouring windows share 8"
    ]


def test_contexts_without_boxes_are_said_once_where_layout_is_read(caplog):
    bare = text("a", "b")
    boxed = attrs.evolve(bare, boxes=np.array([[0, 0, 1, 1], [np.nan] * 4], np.float32), pages=np.zeros(2, np.int32))
    encoder().windows([bare], stride=0)
    model = encoder(layout="on")
    model.windows([boxed, text()], stride=0)
    assert caplog.text == ""
    for contexts in ([boxed, bare], [bare, bare]):
        model.windows(contexts, stride=0)
    assert len(caplog.records) == 1
    assert "First: 'a b'" in caplog.text


def test_a_context_of_a_hundred_thousand_units_is_read_in_bounded_windows():
    (windows,) = encoder().windows([text(*(f"w{i % 977}" for i in range(100_000)))], stride=64)
    assert max(window.cost for window in windows) == 2048
    assert len(windows) < 60


def test_units_far_from_a_cut_have_the_vectors_they_have_without_one():
    words = [f"w{i}" for i in range(300)]  # no word twice: repetition is seen within a window only
    whole, (first, second) = encoder(), encoder(max_length=200).windows([text(*words)], stride=100)[0]
    expected = vectors(whole, [text(*words)])[0]
    cut = encoder(max_length=200)
    with torch.no_grad():
        parts = cut(cut.collate([first, second]))
    middle = slice(160, 170)
    assert second.start == 100
    torch.testing.assert_close(parts[0, middle], expected[middle], atol=1e-4, rtol=1e-4)


@given(
    st.lists(st.lists(st.sampled_from(["a", "b", "A", "12", "(", ""]), min_size=1, max_size=7), min_size=1, max_size=4)
)
def test_each_word_type_stands_once_in_a_batch(contexts):
    model = encoder()
    windows = [window for found in model.windows([text(*c) for c in contexts], stride=0) for window in found]
    batch = collate(windows)
    words = [word for context in contexts for word in context]
    types = batch["type"].tolist()
    assert len(batch["word"]) == len(set(words))
    assert all(
        (a == b) == (x == y) for a, x in zip(words, types, strict=True) for b, y in zip(words, types, strict=True)
    )
    pairs = [(i, word) for i, context in enumerate(contexts) for word in context]
    counts = batch["same_count"][batch["same"]].tolist()
    assert counts == [pairs.count(pair) for pair in pairs]
    assert batch["ngram_offset"][-1] == len(batch["ngram"])


def test_a_word_is_seen_where_it_stands_again():
    model = encoder()
    filler = [f"w{i}" for i in range(40)]
    one = vectors(model, [text("cancer", *filler, "gene", "ABC")])[0, 0]
    other = vectors(model, [text("cancer", *filler, "gene", "cancer")])[0, 0]
    assert not torch.allclose(one, other, atol=1e-3)


def test_word_dropout_hides_identities_in_training_only():
    model = encoder(word_dropout=0.99, dropout=0.0)
    context = text("alpha", "beta", "gamma")
    (window,) = model.windows([context], stride=0)[0]
    model.train()
    torch.manual_seed(1)
    trained = model(model.collate([window]))
    model.eval()
    assert not torch.allclose(trained, model(model.collate([window])), atol=1e-3)
    assert torch.equal(model(model.collate([window])), model(model.collate([window])))


@pytest.mark.parametrize("word", ["", " ", "\u00ad", "\ud800", "x" * 1_000_000, "👩‍🔬", "عربى", "a b\nc"])
def test_any_string_has_a_vector(word):
    assert vectors(encoder(), [text("a", word, "b")]).isfinite().all()


def test_a_reference_style_can_be_learned_in_a_few_steps():
    model = encoder(dropout=0.0, word_dropout=0.0)
    score = torch.nn.Linear(16, 2)
    contexts = [text("Smith", ",", "J", ".", "(", str(1900 + i), ")", "Title", "words") for i in range(40)]
    gold = torch.tensor([[0, 0, 0, 0, 0, 1, 0, 0, 0]] * 40)
    windows = [window for found in model.windows(contexts, stride=0) for window in found]
    parameters = [*model.parameters(), *score.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=5e-3)
    for _ in range(15):
        loss = torch.nn.functional.cross_entropy(score(model(model.collate(windows))).flatten(0, 1), gold.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    unseen = vectors(model, [text("Jones", ",", "K", ".", "(", "2019", ")", "Other", "things")])
    assert score(unseen).argmax(2).tolist() == [[0, 0, 0, 0, 0, 1, 0, 0, 0]]

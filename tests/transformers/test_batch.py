"""Windows → tensors → unit vectors, against loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from papermage_core.plugin import Window
from papermage_transformers.batch import Collator
from papermage_transformers.layout import BoxStyle
from papermage_transformers.pooling import POOLINGS

CAPACITY = 6
COLLATE = Collator(capacity=CAPACITY, prefix=(101, 102), suffix=(103,), padding=9)
POOLS = {"first": lambda x: x[0], "last": lambda x: x[-1], "mean": lambda x: x.mean(0), "max": lambda x: x.amax(0)}


@st.composite
def windows(draw, indicators=False):
    """Windows as `WindowMaker` makes them: within the capacity, or of one unit."""
    made = []
    for _ in range(draw(st.integers(1, 4))):
        lengths = draw(
            st.lists(st.integers(1, 4), min_size=1, max_size=5).filter(lambda x: sum(x) <= CAPACITY)
            | st.lists(st.integers(CAPACITY + 1, 20), min_size=1, max_size=1)
        )
        marked = [indicators and length > 1 and draw(st.booleans()) for length in lengths]
        ids = np.arange(sum(lengths), dtype=np.int32) + 200
        features = {"ids": ids, "lengths": np.array(lengths, np.int32)}
        if indicators:
            features["indicators"] = np.array(marked, np.bool_)
        made.append(Window(0, len(lengths), features, len(ids) + 3))
    return made


def sequences(window):
    ids = window.features["ids"].tolist()
    return [[101, 102, *ids[i : i + CAPACITY], 103] for i in range(0, len(ids), CAPACITY)]


@settings(deadline=None)
@given(windows())
def test_sequences_hold_the_wordpieces_between_the_special_ones(made):
    batch = COLLATE(made)
    expected = [sequence for window in made for sequence in sequences(window)]
    lengths = batch["attention_mask"].sum(1).tolist()
    assert [row[:n].tolist() for row, n in zip(batch["input_ids"], lengths, strict=True)] == expected
    assert batch["input_ids"].shape[1] == max(lengths)
    assert (batch["input_ids"][batch["attention_mask"] == 0] == 9).all()


@pytest.mark.parametrize("pooling", list(POOLS))
@settings(deadline=None)  # the first call of torch is slow
@given(made=windows() | windows(indicators=True))
def test_units_are_pooled_from_all_their_wordpieces_and_no_others(pooling, made):
    batch = COLLATE(made)
    vectors = torch.rand(*batch["input_ids"].shape, 3, requires_grad=True)
    text = (batch["input_ids"] >= 200) & (batch["attention_mask"] == 1)
    pieces = vectors[text]  # in order, window after window
    got = POOLINGS[pooling](vectors, batch)
    at = 0
    for w, window in enumerate(made):
        marked = window.features.get("indicators", np.zeros(window.stop, np.bool_))
        for u, (length, skip) in enumerate(zip(window.features["lengths"].tolist(), marked.tolist(), strict=True)):
            expected = POOLS[pooling](pieces[at + int(skip) : at + length])
            torch.testing.assert_close(got[w, u], expected)
            at += length
    assert at == len(pieces)


def test_each_wordpiece_has_its_units_box_and_the_special_ones_their_own():
    style = BoxStyle(1000, np.int16, prefix=0, suffix=1000)
    boxes = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.int16)
    features = {"ids": np.array([200, 201, 202], np.int32), "lengths": np.array([2, 1], np.int32), "boxes": boxes}
    short = {"ids": np.array([203], np.int32), "lengths": np.array([1], np.int32), "boxes": boxes[:1] * 10}
    collate = Collator(capacity=6, prefix=(1,), suffix=(2,), padding=0, box_style=style)
    got = collate([Window(0, 2, features, 5), Window(0, 1, short, 3)])["bbox"]
    assert got.dtype == torch.int64
    assert got[0].tolist() == [[0] * 4, [1, 2, 3, 4], [1, 2, 3, 4], [5, 6, 7, 8], [1000] * 4]
    assert got[1].tolist() == [[0] * 4, [10, 20, 30, 40], [1000] * 4, [0] * 4, [0] * 4]

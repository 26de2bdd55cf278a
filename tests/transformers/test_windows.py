"""Contexts → windows."""

from __future__ import annotations

from itertools import chain, pairwise

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papermage_core.plugin import Context
from papermage_transformers.layout import BoxStyle
from papermage_transformers.windows import WindowMaker, cut
from papermage_transformers.wordpieces import WordpieceTable

SEPARATOR = 3


@pytest.fixture(scope="module")
def maker(tokenizers):
    return WindowMaker(table=WordpieceTable(tokenizers["wordpiece"](), 1), capacity=12, specials=2, indicator=SEPARATOR)


def context(words, **fields):
    return Context(words=words, space_before=np.ones(len(words), np.bool_), **fields)


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(4, 20), st.integers(0, 40))
def test_stretches_cover_all_units_fit_and_go_forward(lengths, capacity, stride):
    ends = np.concatenate([[7], 7 + np.cumsum(lengths)])  # the windows of a context may begin anywhere in the arrays
    stretches = cut(ends, capacity, stride)
    assert stretches[0][0] == 0
    assert stretches[-1][1] == len(lengths)
    for start, stop in stretches:
        assert sum(lengths[start:stop]) <= capacity or stop == start + 1
    for (start, stop), (after, beyond) in pairwise(stretches):
        assert start < after <= stop < beyond
        wanted = min(stride, (stop - start - 1) // 2)
        assert stop - after <= wanted
        # Less overlap than that only where the next unit would not fit otherwise.
        assert stop - after == wanted or sum(lengths[after - 1 : stop + 1]) > capacity
        assert sum(lengths[start : stop + 1]) > capacity  # no window is shorter than it must be


def test_windows_of_contexts_do_not_depend_on_the_contexts_beside_them(maker):
    contexts = [context(t.split(" ")) for t in ["BRCA1 is cancer", "mutations " * 30 + "end", "a"]] + [context([])]
    together = maker.windows(contexts, 3)
    alone = [windows for c in contexts for windows in maker.windows([c], 3)]
    assert [[(w.start, w.stop, w.cost) for w in ws] for ws in together] == [
        [(w.start, w.stop, w.cost) for w in ws] for ws in alone
    ]
    for a, b in zip(chain(*together), chain(*alone), strict=True):
        assert {k: v.tolist() for k, v in a.features.items()} == {k: v.tolist() for k, v in b.features.items()}


@pytest.mark.parametrize("stride", [14, 15, 30, 32, 10**9])
def test_a_stride_beyond_half_a_window_is_cut_to_it_and_said_once(maker, stride, caplog):
    narrow = attrs.evolve(maker, capacity=30)
    words = [context(["a"] * 2000)] * 3
    assert set(narrow.table.encode(["a"], np.ones(1, np.bool_))[1]) == {1}  # a wordpiece a unit
    [windows, *_] = narrow.windows(words, stride)
    narrow.windows(words, stride)
    assert len(windows) == 125
    assert {a.stop - b.start for a, b in pairwise(windows[:-1])} == {14}
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (stride > 14)
    assert all(f"stride={stride} is too much for windows of 30 wordpieces" in line for line in said)
    assert all("max_length=32" in line and "share 14 units" in line for line in said)


def test_contexts_without_boxes_are_said_once(maker, caplog):
    laid_out = attrs.evolve(maker, box_style=BoxStyle(1000, np.int16))
    bare, blank = context(["a", "b"]), context(["c"], boxes=np.full((1, 4), np.nan, np.float32))
    boxed = context(["d", "e"], boxes=np.array([[0, 0, 1, 1], [np.nan] * 4], np.float32))
    laid_out.windows([boxed, context([])], 0)
    maker.windows([bare, blank], 0)
    assert caplog.text == ""
    for contexts in ([boxed, bare], [blank], [bare, blank]):
        laid_out.windows(contexts, 0)
    assert len(caplog.records) == 1
    assert "First: 'a b'" in caplog.text


def test_a_layer_of_indicators_that_documents_lack_is_said_once(maker, caplog):
    marked = attrs.evolve(maker, indicator_layer="rowss")
    marked.windows([context(["a", "b"], groups={"rowss": np.array([0, 1], np.int32)})], 0)
    assert caplog.text == ""
    for _ in range(2):
        marked.windows([context(["c", "d"], groups={"rows": np.array([0, 1], np.int32)})], 0)
    assert len(caplog.records) == 1
    assert "no layer 'rowss', which encoder.layout_indicator names" in caplog.text
    assert "First: 'c d'" in caplog.text


def test_no_contexts_and_empty_contexts_have_no_windows(maker):
    assert maker.windows([], 3) == []
    assert maker.windows([context([]), context([])], 3) == [[], []]


def test_a_window_holds_its_units_wordpieces_and_their_cost(maker):
    long = context(("inherited breast and ovarian cancer " * 4).split())
    ids, counts = maker.table.encode(long.words, long.space_before)
    ends = np.concatenate([[0], np.cumsum(counts)])
    [windows] = maker.windows([long], 2)
    assert len(windows) > 2
    for window in windows:
        assert window.features["ids"].tolist() == ids[ends[window.start] : ends[window.stop]].tolist()
        assert window.features["lengths"].tolist() == counts[window.start : window.stop].tolist()
        assert window.cost == len(window.features["ids"]) + 2


def test_an_indicator_stands_before_each_unit_that_begins_a_group(maker):
    indicating = attrs.evolve(maker, indicator_layer="rows")
    rows = np.array([0, 0, 1, 1, -1, -1, 2], np.int32)
    words = ["breast", "and", "ovarian", "cancer", "in", "Table", "2"]
    [[window]] = attrs.evolve(indicating, capacity=40).windows([context(words, groups={"rows": rows})], 0)
    assert window.features["indicators"].tolist() == [False, False, True, False, True, False, True]
    ids, counts = maker.table.encode(words, np.ones(7, np.bool_))
    expected = []
    for piece, marked in zip(np.split(ids, np.cumsum(counts)[:-1]), window.features["indicators"], strict=True):
        expected += [SEPARATOR] * int(marked) + piece.tolist()
    assert window.features["ids"].tolist() == expected
    assert window.features["lengths"].tolist() == (counts + window.features["indicators"]).tolist()
    [[without]] = attrs.evolve(indicating, capacity=40).windows([context(words)], 0)  # a corpus without rows
    assert without.features["ids"].tolist() == ids.tolist()


def test_boxes_are_cut_to_the_page_ordered_and_scaled():
    boxes = np.array([[0.1, 0.2, 0.3, 0.4], [0.3, 0.9, 0.1, 0.2], [-1, 0, 2, 1], [np.nan] * 4], np.float32)
    style = BoxStyle(1000, np.int16)
    assert style.normalise(boxes, 4).tolist() == [
        [100, 200, 300, 400],
        [100, 200, 300, 900],
        [0, 0, 1000, 1000],
        [0] * 4,
    ]
    assert style.normalise(None, 2).tolist() == [[0] * 4] * 2
    assert BoxStyle(1.0, np.float32).normalise(boxes, 4)[0] == pytest.approx([0.1, 0.2, 0.3, 0.4])

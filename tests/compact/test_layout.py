"""What is seen of places on the page."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_compact.layout import LAYOUT_ROWS, LAYOUT_VALUES, LayoutFacts, _medians
from papermage_core.plugin import Context

HEIGHT, WIDTH = 0.01, 0.05


def page(*lines, fonts=None, sizes=None, rows=None):
    """Return a context whose lines are (top, left, words); words are 0.05 wide, and 0.01 apart."""
    boxes, words = [], []
    for top, left, count in lines:
        for i in range(count):
            x = left + i * (WIDTH + 0.01)
            boxes.append((x, top, x + WIDTH, top + HEIGHT))
            words.append("w")
    return Context(
        words=words,
        space_before=np.ones(len(words), bool),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        pages=np.zeros(len(words), np.int32),
        groups={} if rows is None else {"rows": np.array(rows, np.int32)},
        metadata={} if fonts is None else {"fontname": fonts, "size": sizes or [10.0] * len(words)},
    )


def layout(*contexts):
    lengths = np.array([len(context) for context in contexts], np.int64)
    return LayoutFacts.of(contexts, lengths).take(0, int(lengths.sum()))


def test_boxes_at_one_height_make_a_line():
    assert layout(page((0.1, 0.1, 3), (0.12, 0.1, 2), (0.14, 0.1, 1))).lines.tolist() == [0, 0, 0, 1, 1, 2]


def test_a_superscript_stays_in_its_line():
    context = page((0.1, 0.1, 1), (0.096, 0.16, 1), (0.1, 0.22, 1))
    assert layout(context).lines.tolist() == [0, 0, 0]


def test_two_columns_at_one_height_are_two_lines_when_read_one_after_the_other():
    context = page((0.1, 0.1, 2), (0.12, 0.1, 2), (0.1, 0.6, 2), (0.12, 0.6, 2))
    assert layout(context).lines.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_rows_of_the_document_come_before_what_boxes_say():
    context = page((0.1, 0.1, 2), (0.12, 0.1, 2), rows=[0, 0, 0, 0])
    assert layout(context).lines.tolist() == [0, 0, 0, 0]


def test_lines_and_pages_begin_anew_in_each_context():
    one = page((0.1, 0.1, 2), (0.12, 0.1, 2))
    assert layout(one, one).lines.tolist() == [0, 0, 1, 1] * 2
    two_pages = attrs.evolve(one, pages=np.array([0, 0, 1, 1], np.int32), boxes=np.tile(one.boxes[:2], (2, 1)))
    assert layout(two_pages).lines.tolist() == [0, 0, 1, 1]


def test_moving_the_text_down_changes_its_place_and_nothing_else():
    lines = [(0.103, 0.1, 3), (0.1267, 0.1, 2), (0.1749, 0.1, 1)]
    here = layout(page(*lines))
    there = layout(page(*((top + 0.5, left, count) for top, left, count in lines)))
    changed = np.flatnonzero((here.rows != there.rows).any(0))
    assert changed.tolist() == [1]  # the bucket of the top
    assert np.flatnonzero(np.abs(here.values - there.values).max(0) > 0.01).tolist() == [1, 3]  # top and bottom


def test_twice_the_page_size_changes_no_distance_in_line_heights():
    lines = [(0.103, 0.1, 3), (0.1267, 0.1, 2), (0.1749, 0.1, 1)]
    small = page(*lines)
    large = attrs.evolve(small, boxes=small.boxes * 2)
    a, b = layout(small).values, layout(large).values
    assert np.abs(a[:, 5:16] - b[:, 5:16]).max() < 0.01


def test_a_font_is_known_without_the_mark_of_its_subset():
    plain = layout(page((0.1, 0.1, 2), fonts=["Times-Bold", "Times"]))
    subset = layout(page((0.1, 0.1, 2), fonts=["ABCDEF+Times-Bold", "GHIJKL+Times"]))
    assert plain.rows.tolist() == subset.rows.tolist()
    assert (plain.rows[0] != plain.rows[1]).any()


def test_sizes_are_seen_relative_to_the_usual_size_of_the_page():
    fonts = ["F"] * 6
    lines = [(0.1, 0.1, 1), (0.2, 0.1, 5)]
    one = layout(page(*lines, fonts=fonts, sizes=[14.0] + [10.0] * 5))
    other = layout(page(*lines, fonts=fonts, sizes=[28.0] + [20.0] * 5))
    assert one.values.tolist() == other.values.tolist()
    assert one.values[0, 6] == pytest.approx(np.log2(1.4), abs=0.01)


def test_a_unit_without_a_box_is_taken_to_stand_by_the_one_before():
    context = page((0.1, 0.1, 2), (0.12, 0.1, 2))
    boxes = context.boxes.copy()
    boxes[1] = np.nan
    found = layout(attrs.evolve(context, boxes=boxes, pages=np.array([0, -1, 0, 0], np.int32)))
    assert found.lines.tolist() == [0, 0, 1, 1]
    assert not found.values[1].any()
    assert found.values[0, -1] == 1


def test_contexts_without_boxes_and_without_units_have_layouts_too():
    empty = Context(words=[], space_before=np.zeros(0, bool))
    bare = Context(words=["a", "b"], space_before=np.ones(2, bool))
    assert layout(empty).rows.shape[0] == 0
    found = layout(empty, bare, empty)
    assert found.lines.tolist() == [0, 0]
    assert not found.values.any()


@given(st.data())
def test_whatever_the_boxes_rows_are_in_the_table_and_values_are_finite(data):
    contexts = []
    for n in data.draw(st.lists(st.integers(0, 6), max_size=3)):
        numbers = st.floats(0, 1, width=32) | st.just(float("nan"))
        boxes = np.array(data.draw(st.lists(numbers, min_size=4 * n, max_size=4 * n)), np.float32).reshape(n, 4)
        values = st.sampled_from([None, "CMMI10", "", 7, float("nan"), -3, "Times,Bold", ["Times"], {"size": 9}])
        contexts.append(
            Context(
                words=["a"] * n,
                space_before=np.ones(n, bool),
                boxes=boxes,
                pages=np.where(np.isnan(boxes).any(1), -1, 0).astype(np.int32),
                groups={"rows": np.array(data.draw(st.lists(st.integers(-1, 3), min_size=n, max_size=n)), np.int32)},
                metadata={key: data.draw(st.lists(values, min_size=n, max_size=n)) for key in ("fontname", "size")},
            )
        )
    found = layout(*contexts)
    units = sum(map(len, contexts))
    assert (found.rows < LAYOUT_ROWS).all()
    assert found.values.shape == (units, LAYOUT_VALUES)
    assert np.isfinite(found.values).all()
    alone = [layout(context) for context in contexts]
    for name in ("rows", "values", "lines"):
        together = getattr(found, name).tolist()
        assert together == [x for one in alone for x in getattr(one, name).tolist()]


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-9, 9) | st.just(float("nan"))), max_size=12))
def test_medians_are_those_of_each_group(pairs):
    pairs.sort(key=lambda pair: pair[0])
    groups = np.array([g for g, _ in pairs], np.int64)
    values = np.array([x for _, x in pairs], np.float64)
    _, number = np.unique(groups, return_inverse=True)
    for got, group in zip(_medians(values, groups)[number], groups, strict=True):
        known = sorted(x for x in values[groups == group] if not np.isnan(x))
        assert got == (known[(len(known) - 1) // 2] if known else 1.0)

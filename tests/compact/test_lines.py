"""Places in lines, against one context read unit by unit."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_compact.lines import LINE_ROWS, lines_of
from papermage_compact.plugin import CompactConfig
from papermage_core.plugin import Context

ROWS = st.lists(st.lists(st.sampled_from([-1, 0, 1, 2]), max_size=12), max_size=4)


def context(rows: list[int]) -> Context:
    n = len(rows)
    return Context(words=["a"] * n, space_before=np.ones(n, bool), groups={"rows": np.array(rows, np.int32)})


def made(contexts):
    return lines_of(contexts, np.array([len(each) for each in contexts], np.int64))


@given(ROWS)
def test_a_unit_without_a_row_goes_on_with_the_line_before_it(contexts):
    found = made([context(rows) for rows in contexts])
    expected = []
    for rows in contexts:
        line, before = -1, None
        for row in rows:
            here = before if row < 0 and before is not None else row
            line += before is None or here != before
            before = here
            expected.append(line)
    assert found.lines.tolist() == expected
    assert found.rows.shape == (len(expected), 5)
    assert (found.rows < LINE_ROWS).all()


@given(ROWS)
def test_contexts_do_not_touch_each_other(contexts):
    together = made([context(rows) for rows in contexts])
    apart = [made([context(rows)]) for rows in contexts]
    assert together.rows.tolist() == [row for each in apart for row in each.rows.tolist()]


def test_places_are_counted_in_the_line_and_of_the_line():
    rows = made([context([4, 4, 4, 7, 7, 9])]).rows - np.array([0, 10, 20, 36, 52])
    assert rows[:, 0].tolist() == [0, 1, 2, 0, 1, 0]
    assert rows[:, 1].tolist() == [2, 1, 0, 1, 0, 0]
    assert rows[:, 2].tolist() == [0, 0, 0, 1, 1, 2]
    assert rows[:, 3].tolist() == [2, 2, 2, 1, 1, 0]
    assert rows[:, 4].tolist() == [9, 9, 9, 6, 6, 3]


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        ([0, 0, 0, 1, 1, 1, 2, 2, 2], "on"),
        ([0, 0, 0, 0, 0, 0, 1, 1, 1], "off"),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8], "off"),
        ([0, -1, -1, 1, -1, -1, 2, -1, -1], "off"),
        ([-1] * 9, "off"),
    ],
)
def test_auto_reads_lines_where_units_stand_in_several(rows, lines):
    assert CompactConfig().settle([context(rows)]).lines == lines


def test_metadata_that_are_read_make_lines_needless_unless_they_are_asked_for():
    marked = context([0] * 20 + [1] * 20 + [2] * 20)
    marked = attrs.evolve(marked, metadata={"line_status": ["start", *["in"] * 19] * 3})
    assert CompactConfig().settle([marked] * 3).lines == "off"
    assert CompactConfig(metadata=()).settle([marked] * 3).lines == "on"
    assert CompactConfig(lines="on").settle([marked] * 3).lines == "on"


def test_lines_are_left_to_the_layout_where_there_is_one():
    boxes = np.tile(np.array([0.1, 0.1, 0.2, 0.2], np.float32), (9, 1))
    boxed = attrs.evolve(context([0, 0, 0, 1, 1, 1, 2, 2, 2]), boxes=boxes, pages=np.zeros(9, np.int32))
    settled = CompactConfig(width=16, rows=64).settle([boxed])
    assert (settled.layout, settled.lines) == ("on", "off")
    assert settled.build().placed is None
    unwanted = CompactConfig(layout="off").settle([context([0, 0, 0, 1, 1, 1, 2, 2, 2])])
    assert unwanted.lines == "off"


def test_a_corpus_without_rows_pays_nothing():
    bare = attrs.evolve(context([0, 0, 0]), groups={})
    encoder = CompactConfig(width=16, rows=64).settle([bare]).build()
    assert encoder.lines is None
    (window,) = encoder.windows([context([0, 0, 1])], stride=0)[0]
    assert not {"line", "placed"} & set(window.features)

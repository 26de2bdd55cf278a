"""What is seen of units beside their words, against one context read unit by unit."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from papermage_compact.units import UNIT_ROWS, unit_rows
from papermage_compact.words import word_features

SIZES = {"word": 900, "prefix": 400, "suffix": 400, "shape": 400}
NAMES = ("from start", "from end", "decile", "touches", "bracket", "repeats")
FIRSTS = (0, 16, 32, 42, 46, 51)
CONTEXTS = st.lists(st.lists(st.sampled_from(["(", ")", "]", "a", "b", "A", "1"]), max_size=9), max_size=5)


def rows_of(contexts, spaces=None):
    words = [word for context in contexts for word in context]
    lengths = np.array([len(context) for context in contexts], np.int64)
    spaces = np.ones(len(words), bool) if spaces is None else np.array(spaces)
    rows = unit_rows(word_features(words, SIZES, 500), spaces, lengths).astype(int) - np.array(FIRSTS)
    return {name: rows[:, i].tolist() for i, name in enumerate(NAMES)}


@given(CONTEXTS)
def test_brackets_and_repetition_are_counted_from_the_start_of_the_context(contexts):
    brackets, repeats = [], []
    for context in contexts:
        depth, seen = 0, []
        for word in context:
            depth += word == "("
            brackets.append(min(max(depth, -1), 3) + 1)
            depth -= word in ")]"
            alike = "0" if word == "1" else word.lower()
            repeats.append(min(seen.count(alike), 3) if seen.count(alike) < 4 else None)
            seen.append(alike)
    rows = rows_of(contexts)
    assert rows["bracket"] == brackets
    assert all(expected is None or got == expected for got, expected in zip(rows["repeats"], repeats, strict=True))


@given(CONTEXTS)
def test_places_are_counted_from_both_ends(contexts):
    rows = rows_of(contexts)
    starts = [min(i, 4) if i < 6 else 5 for context in contexts for i in range(len(context))]
    ends = [min(i, 4) if i < 6 else 5 for context in contexts for i in reversed(range(len(context)))]
    assert [min(x, 5) for x in rows["from start"]] == starts
    assert [min(x, 5) for x in rows["from end"]] == ends
    assert rows["decile"] == [i * 10 // len(context) for context in contexts for i in range(len(context))]


def test_a_unit_touches_its_neighbours_but_never_another_context():
    rows = rows_of([["a", "b", "a"], ["b"]], [True, False, True, False])
    assert rows["touches"] == [2, 1, 3, 1]


@given(CONTEXTS)
def test_every_row_is_in_the_table(contexts):
    words = [word for context in contexts for word in context]
    lengths = np.array([len(context) for context in contexts], np.int64)
    rows = unit_rows(word_features(words, SIZES, 500), np.ones(len(words), bool), lengths)
    assert rows.shape == (len(words), len(NAMES))
    assert (rows < UNIT_ROWS).all()

"""What is seen of words."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_compact.hashing import buckets, code_points, hash_runs
from papermage_compact.table import WordTable
from papermage_compact.words import GROUPS, clip, word_features

SIZES = {"word": 30_000, "prefix": 40_000, "suffix": 40_000, "shape": 40_000}
NGRAM_ROWS = 60_000
make = partial(word_features, sizes=SIZES, ngram_rows=NGRAM_ROWS)
WORDS = st.lists(st.text(max_size=9), max_size=6)


def columns(words, group):
    first = sum(count for name, count in GROUPS.items() if list(GROUPS).index(name) < list(GROUPS).index(group))
    return make(words).rows[:, first : first + GROUPS[group]].tolist()


def row(text, rows, seed):
    return int(buckets(hash_runs(*code_points([text])), rows, seed)[0])


@given(WORDS)
def test_ngrams_are_those_of_the_marked_word_in_lower_case(words):
    made = make(words).ngrams
    for i, word in enumerate(words):
        marked = f"\x02{word.lower()}\x03"
        expected = [row(marked[j : j + n], NGRAM_ROWS, n) for n in (3, 4, 5) for j in range(len(marked) - n + 1)]
        assert sorted(made.take(np.array([i])).values.tolist()) == sorted(expected)


@given(WORDS)
def test_affixes_are_the_first_and_last_characters(words):
    for group, cut in (("prefix", lambda w, n: w[:n]), ("suffix", lambda w, n: w[-n:])):
        for word, rows in zip(words, columns(words, group), strict=True):
            # digits are alike in affixes: compare words without them
            if not any(map(str.isdigit, word)):
                lower = word.lower()
                assert rows == [row(cut(lower, n), 10_000, n) + 10_000 * (n - 1) for n in (1, 2, 3, 4)]


def test_case_is_seen_by_one_of_three_identities():
    upper, lower = columns(["Cancer", "cancer"], "word")
    assert upper[:2] == lower[:2]
    assert upper[2] != lower[2]


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("BRCA1", "KRAS2", [True, True, True, True]),
        ("Cancer", "Protein", [True, True, True, False]),  # of another length
        ("1998", "1234", [True, True, False, True]),  # a year, and not
        ("USA", "XIV", [True, True, False, True]),  # a roman numeral
        ("a", "abcdef", [False, True, False, False]),
    ],
)
def test_shapes_tell_words_apart_by_what_they_look_like(one, other, alike):
    a, b = columns([one, other], "shape")
    assert [x == y for x, y in zip(a, b, strict=True)] == alike


def test_rows_of_features_do_not_meet_within_a_group():
    rows = make([f"Word{i}-{i * 7}" for i in range(500)]).rows.astype(int)
    column = 0
    for group, count in GROUPS.items():
        share = SIZES[group] // count
        for place in range(count):
            assert rows[:, column].min() >= share * place
            assert rows[:, column].max() < share * (place + 1)
            column += 1


def test_a_word_without_end_is_seen_by_its_ends():
    long = "a" * 1_000_000 + "b"
    assert len(clip(long)) == 81
    assert make([long]).ngrams.lengths[0] < 300
    assert columns([long], "suffix") == columns(["x" * 200 + "aaab"], "suffix")


@given(st.lists(WORDS, max_size=5))
def test_a_table_gives_what_is_made_anew(texts):
    table = WordTable(make, limit=4)  # so small that it is emptied now and then
    for words in texts:
        kept, fresh = table.features(words), make(words)
        assert kept.rows.tolist() == fresh.rows.tolist()
        assert kept.keys.tolist() == fresh.keys.tolist()
        assert kept.depth.tolist() == fresh.depth.tolist()
        assert kept.ngrams.values.tolist() == fresh.ngrams.values.tolist()
        assert kept.ngrams.lengths.tolist() == fresh.ngrams.lengths.tolist()


def test_a_table_travels_to_a_worker_without_its_words():
    table = WordTable(make)
    before = table.features([f"word{i}" for i in range(1000)])
    sent = pickle.dumps(table)
    assert len(sent) < 2000
    assert pickle.loads(sent).features(["word7"]).rows.tolist() == before.rows[7:8].tolist()

"""Units of several words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_compact.phrases import phrase_features
from papermage_compact.plugin import CompactConfig
from papermage_compact.words import GROUPS
from papermage_core.plugin import Context

SIZES = {"word": 900, "prefix": 400, "suffix": 400, "shape": 400}
PHRASES = st.lists(st.text(alphabet="aB1 .,(\n\u00a0é\ud800", max_size=12), min_size=1, max_size=6)


def features(*phrases):
    return phrase_features(phrases, SIZES, 500)


def context(*units):
    return Context(words=units, space_before=np.ones(len(units), bool))


@given(PHRASES)
def test_features_of_a_unit_do_not_depend_on_others(phrases):
    together = features(*phrases)
    for i, phrase in enumerate(phrases):
        alone, own = features(phrase), together.take(np.array([i]))
        assert own.rows.tolist() == alone.rows.tolist()
        assert own.ngrams.values.tolist() == alone.ngrams.values.tolist()
        assert (own.keys[0], own.lowered[0]) == (alone.keys[0], alone.lowered[0])
    assert together.rows.shape == (len(phrases), sum(GROUPS.values()))


@given(PHRASES)
def test_the_bag_holds_the_words(phrases):
    found = features(*phrases)
    for i, phrase in enumerate(phrases):
        bag = found.take(np.array([i])).ngrams.values.tolist()
        assert sorted(bag) == sorted(value for word in phrase.split() or [""] for value in features(word).ngrams.values)


def test_first_second_and_last_words_have_rows_of_their_own():
    first, second, last = range(3)
    base, other = features("Figure 2 shows the rates").rows[0], features("Figure 3 shows a rate").rows[0]
    assert base[first] == other[first]
    assert base[second] == other[second]  # digits are alike
    assert base[last] != other[last]


def test_long_units_are_looked_at_as_far_as_it_pays():
    assert features("word " * 100_000).ngrams.lengths.tolist() == [64]


@pytest.mark.parametrize(
    ("units", "phrases"),
    [(("a b", "c d"), "on"), (("a b", "c"), "on"), (("a b", "c", "d"), "off"), (("a", "b"), "off"), ((), "off")],
)
def test_auto_reads_word_by_word_where_most_units_have_several(units, phrases):
    assert CompactConfig().settle([context(*units)]).phrases == phrases


def test_an_encoder_of_phrases_has_the_shapes_of_one_of_words():
    built = [CompactConfig(width=16, rows=64, phrases=choice).build().state_dict() for choice in ("on", "off", "auto")]
    shapes = [{name: value.shape for name, value in state.items()} for state in built]
    assert shapes[0] == shapes[1] == shapes[2]

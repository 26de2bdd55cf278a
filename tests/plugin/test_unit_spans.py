"""An entity in units has one spelling, one order, and units that can be counted."""

from __future__ import annotations

import itertools
import json
import pickle

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import papermage_core.plugin
from papermage_core.plugin import HeadOutput, UnitSpan, spec

loose = st.tuples(st.integers(0, 12), st.integers(1, 4)).map(lambda drawn: (drawn[0], sum(drawn)))
spans = st.builds(UnitSpan.joining, st.sampled_from("ab"), st.lists(loose, min_size=1, max_size=4))


@given(st.lists(loose, min_size=1, max_size=5))
def test_joining_keeps_the_units_in_segments_that_lie_apart(drawn: list[tuple[int, int]]) -> None:
    span = UnitSpan.joining("a", drawn, score=0.5)
    units = sorted({unit for start, stop in drawn for unit in range(start, stop)})
    assert list(span.units) == units
    assert (span.start, span.stop, span.score) == (units[0], units[-1] + 1, 0.5)
    assert len(span.segments) == 1 + sum(right - left > 1 for left, right in itertools.pairwise(units))
    assert span.is_discontinuous == (len(units) < span.stop - span.start)
    assert UnitSpan("a", span.segments) == span


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=3))
@example([(0, 1), (0, 1)])
def test_segments_must_hold_units_be_in_order_and_lie_apart(steps: list[tuple[int, int]]) -> None:
    segments, place = [], 0
    for gap, size in steps:
        segments.append((place + gap, place + gap + size))
        place += gap + size
    if all(size for _, size in steps) and all(gap for gap, _ in steps[1:]):
        assert UnitSpan("a", tuple(segments)).segments == tuple(segments)
        if len(segments) > 1:
            with pytest.raises(ValueError, match="in order"):
                UnitSpan("a", tuple(segments[::-1]))
    else:
        with pytest.raises(ValueError, match="in order"):
            UnitSpan("a", tuple(segments))


def test_an_entity_without_segments_is_refused() -> None:
    with pytest.raises(ValueError, match="hold a unit"):
        UnitSpan("a", ())
    with pytest.raises(ValueError, match="hold a unit"):
        UnitSpan.joining("a", [])


@pytest.mark.parametrize("segments", [[(0, 2)], [[0, 2]], ((0, 2, 3),), ([0, 2], [3, 4]), (0, 2), 3])
def test_segments_that_are_no_tuple_of_pairs_are_refused(segments: object) -> None:
    with pytest.raises(TypeError, match="tuple of tuples"):
        UnitSpan("a", segments)  # type: ignore[arg-type]


def test_the_old_form_says_what_to_write_now() -> None:
    with pytest.raises(TypeError, match=r"UnitSpan\.of\(label, start, stop\)"):
        UnitSpan(0, 2, "x")  # type: ignore[arg-type]


@given(st.lists(spans, max_size=6))
def test_entities_sort_by_start_stop_label_and_segments(drawn: list[UnitSpan]) -> None:
    assert sorted(drawn) == sorted(drawn, key=lambda span: (span.start, span.stop, span.label, span.segments))


@given(spans, st.integers(-5, 5))
def test_a_shifted_entity_has_its_units_further_on(span: UnitSpan, by: int) -> None:
    assert list(span.shifted(by).units) == [unit + by for unit in span.units]
    assert span.shifted(by).shifted(-by) == span
    assert UnitSpan("a", ((1, 2),), 0.5).shifted(by).score == 0.5


def test_the_score_is_carried_and_not_compared() -> None:
    sure, unsure = UnitSpan.of("a", 0, 2, 0.9), UnitSpan.of("a", 0, 2, 0.1)
    assert (sure == unsure, len({sure, unsure}), sure.score) == (True, 1, 0.9)
    assert pickle.loads(pickle.dumps(sure)).score == 0.9


@pytest.mark.parametrize("module", [spec, papermage_core.plugin])
def test_decoded_is_the_old_name_of_head_output(module: object) -> None:
    with pytest.warns(DeprecationWarning, match="HeadOutput") as caught:
        assert module.Decoded is HeadOutput  # type: ignore[attr-defined]
    assert caught[0].filename == __file__
    with pytest.raises(AttributeError, match="Nothing"):
        module.Nothing  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("segments", [((np.int64(2), np.int32(4)),), ((0, np.int64(1)), (np.int64(3), 4))])
def test_numbers_of_numpy_become_plain_ones(segments: tuple[tuple[int, int], ...]) -> None:
    span = UnitSpan("a", segments, score=np.float32(0.5))  # type: ignore[arg-type]
    assert json.loads(json.dumps([span.segments, span.score])) == [[list(each) for each in span.segments], 0.5]
    assert {type(end) for segment in span.segments for end in segment} == {int}
    assert type(span.score) is float
    assert span == UnitSpan("a", span.segments)


def test_places_that_are_no_whole_numbers_are_refused() -> None:
    with pytest.raises(TypeError, match="expected whole numbers"):
        UnitSpan("a", ((0.0, 1.5),))  # type: ignore[arg-type]

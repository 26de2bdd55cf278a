"""Queries over whole layers, against loops that say what is meant."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from papermage_core import Box, Document, Entity, Layer, Span
from papermage_core.document.queries import context_of_units, reading_order, unit_ranges, units_of_contexts

CHARACTERS = 30
numbers = st.integers(0, 8).map(lambda n: n / 8)


@st.composite
def spans(draw: st.DrawFn, empty: bool = True) -> Span:
    start = draw(st.integers(0, CHARACTERS - 1))
    return Span(start, draw(st.integers(start if empty else start + 1, min(CHARACTERS, start + 9))))


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    return Box(draw(numbers), draw(numbers), draw(numbers), draw(numbers), draw(st.integers(0, 1)))


@st.composite
def entities(draw: st.DrawFn) -> Entity:
    where = draw(st.lists(spans(), max_size=2))
    return Entity(spans=where, boxes=draw(st.lists(boxes(), min_size=0 if where else 1, max_size=2)))


layers = st.lists(entities(), max_size=8).map(Layer)


@st.composite
def units(draw: st.DrawFn) -> Layer:
    """Disjoint units in order, some empty, as tokens are."""
    cuts = sorted(draw(st.lists(st.integers(0, CHARACTERS), max_size=16)))
    made = [Entity(spans=[Span(a, b)]) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    return Layer(made)


def shared(unit: Span, context: Span) -> int:
    return max(0, min(unit.end, context.end) - max(unit.start, context.start))


def touches(unit: Span, context: Span) -> bool:
    if unit.start == unit.end:
        return context.start <= unit.start < context.end
    return shared(unit, context) > 0


def center_in(unit: Entity, context: Entity) -> bool:
    if not unit.boxes:
        return False
    x, y = unit.boxes[0].center
    return any(b.page == unit.boxes[0].page and b.l <= x <= b.l + b.w and b.t <= y <= b.t + b.h for b in context.boxes)


def lies_in(unit: Entity, context: Entity) -> bool:
    if unit.spans and context.spans:
        return any(touches(u, c) for u in unit.spans for c in context.spans)
    return center_in(unit, context)


@settings(deadline=None)
@given(layers, layers)
def test_units_of_contexts_are_those_a_double_loop_finds(unit_layer: Layer, contexts: Layer) -> None:
    offsets, ids = units_of_contexts(unit_layer, contexts)
    assert offsets.shape == (len(contexts) + 1,)
    for c, context in enumerate(contexts):
        expected = [u for u, unit in enumerate(unit_layer) if lies_in(unit, context)]
        assert ids[offsets[c] : offsets[c + 1]].tolist() == expected


@settings(deadline=None)
@given(layers, layers)
def test_the_context_of_a_unit_shares_most_characters_and_is_the_first_such(units_: Layer, contexts: Layer) -> None:
    best, count = context_of_units(units_, contexts)
    for u, unit in enumerate(units_):
        found = [c for c, context in enumerate(contexts) if lies_in(unit, context)]
        assert count[u] == len(found)
        score = {c: sum(shared(a, b) for a in unit.spans for b in contexts[c].spans) for c in found}
        assert best[u] == (min(found, key=lambda c: (-score[c], c)) if found else -1)


@settings(deadline=None)
@given(layers, units())
def test_unit_ranges_are_the_runs_of_units_that_a_loop_finds(gold: Layer, unit_layer: Layer) -> None:
    rows = []
    for e, entity in enumerate(gold):
        hit = {}
        for u, unit in enumerate(unit_layer):
            mine = unit.spans[0]
            over = [
                s
                for s in entity.spans
                if (s.start < mine.start < s.end or s == mine if mine.start == mine.end else shared(mine, s) > 0)
            ]
            if over:
                hit[u] = (
                    all(mine.start < s.start for s in over) and mine.start < mine.end,
                    all(s.end < mine.end for s in over) and mine.start < mine.end,
                )
        for u in sorted(hit):
            if u - 1 not in hit:
                stop = next(k for k in range(u + 1, len(unit_layer) + 1) if k not in hit)
                rows.append((e, u, stop, hit[u][0], hit[stop - 1][1]))
    found = unit_ranges(gold, unit_layer)
    columns = (found.entity, found.start, found.stop, found.partial_start, found.partial_stop)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == rows


@settings(deadline=None)
@given(layers, st.lists(entities(), min_size=1, max_size=1))
def test_single_queries_are_those_of_magelib(layer: Layer, query: list[Entity]) -> None:
    (asked,) = query
    by_span = [e.id for e in layer if any(a.start < b.end and a.end > b.start for a in e.spans for b in asked.spans)]
    assert [e.id for e in layer.intersect_by_span(asked)] == by_span
    by_box = [
        e.id
        for e in layer
        if any(
            a.page == b.page and a.l <= b.l + b.w and a.l + a.w >= b.l and a.t <= b.t + b.h and a.t + a.h >= b.t
            for a in e.boxes
            for b in asked.boxes
        )
    ]
    assert [e.id for e in layer.intersect_by_box(asked)] == by_box


@settings(deadline=None)
@given(layers)
def test_units_are_read_by_their_first_character_then_their_last_and_boxes_after_the_unit_before(layer: Layer) -> None:
    keys: list[tuple[float, float, int, int]] = []
    for i, unit in enumerate(layer):
        leaders = [k for k in range(i + 1) if layer[k].spans]
        leader = layer[leaders[-1]] if leaders else unit  # a unit without spans begins at minus infinity
        keys.append((leader.start, leader.end if leaders else -1, leaders[-1] if leaders else -1, i))
    expected = sorted(range(len(layer)), key=keys.__getitem__)
    order = reading_order(layer)
    assert (list(range(len(layer))) if order is None else order.tolist()) == expected
    assert (order is None) == (expected == list(range(len(layer))))


def test_an_entity_with_boxes_and_no_span_covers_units_by_their_centres() -> None:
    doc = Document("a b c d")
    row = [Entity(spans=[Span(2 * i, 2 * i + 1)], boxes=[Box(0.2 * i, 0.1, 0.1, 0.1, 0)]) for i in range(4)]
    doc.annotate_layer("tokens", row)
    doc.annotate_layer("figures", [Entity(boxes=[Box(0.2, 0, 0.4, 0.5, 0)]), Entity(boxes=[Box(0, 0, 1, 1, 1)])])
    found = unit_ranges(doc.figures, doc.tokens)
    assert (found.entity.tolist(), found.start.tolist(), found.stop.tolist()) == ([0], [1], [3])


def test_arrays_hold_one_row_a_span_in_the_order_of_the_layer() -> None:
    layer = Layer(
        [Entity(spans=[Span(5, 6), Span(0, 1)]), Entity(boxes=[Box(0, 0, 1, 1, 3)]), Entity(spans=[Span(2, 4)])]
    )
    arrays = layer.span_arrays()
    assert [arrays.start.tolist(), arrays.stop.tolist(), arrays.entity.tolist()] == [[5, 0, 2], [6, 1, 4], [0, 0, 2]]
    assert all(column.dtype == np.int64 for column in (arrays.start, arrays.stop, arrays.entity))
    assert layer.box_arrays().page.tolist() == [3]

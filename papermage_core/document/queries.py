"""Questions about two whole layers, answered in a few numpy calls.

All spans are half-open. An entity of several spans lies wherever one of them does. Where one layer's entity has no
spans, its boxes answer: by the centre of the other's box.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from papermage_core.document.arrays import offsets_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from papermage_core.document.arrays import BoxArrays, SpanArrays
    from papermage_core.document.layer import Layer

__all__ = [
    "UnitRanges",
    "context_of_units",
    "ranges",
    "rank_of_spans",
    "reading_order",
    "unit_ranges",
    "units_in_boxes",
    "units_of_contexts",
]


@attrs.frozen(eq=False)
class UnitRanges:
    """Segments of consecutive units that entities cover, by entity, then start. One row a segment."""

    entity: NDArray[np.int64]
    start: NDArray[np.int64]
    """The first unit."""
    stop: NDArray[np.int64]
    """The unit after the last."""
    partial_start: NDArray[np.bool_]
    """Whether the entity begins inside the first unit."""
    partial_stop: NDArray[np.bool_]
    """Whether the entity ends inside the last unit."""

    def __len__(self) -> int:
        return len(self.entity)


def units_of_contexts(units: Layer, contexts: Layer) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the units in each context: those of context c are ``ids[offsets[c]:offsets[c + 1]]``, rising.

    A unit lies in each context that its spans share characters with; one with an empty span in the context that has
    the character there; one with boxes only where its box's centre is. Shapes (contexts + 1,) and (pairs,).
    """
    if _are_plain(units, contexts):
        low, count = _covered_in_order(units.span_arrays(), contexts.span_arrays())
        offsets = np.zeros(len(contexts) + 1, np.int64)
        np.cumsum(count, out=offsets[1:])
        high = low + count
        if len(low) and (count > 0).all() and (low[1:] == high[:-1]).all():  # as rows of a page, one after the other
            return offsets, np.arange(low[0], high[-1])
        return offsets, ranges(low, count)[0]
    unit, context, _ = _pairs(units, contexts)
    pair = context * len(units) + unit
    if (np.diff(pair) <= 0).any():  # seldom: text in order gives pairs in order, each once
        pair = np.unique(pair)
        context, unit = np.divmod(pair, len(units))
    return offsets_of(context, len(contexts)), unit


def context_of_units(units: Layer, contexts: Layer) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the context of each unit, -1 for none, and in how many contexts it lies.

    Of several, the one that shares most characters, the first of equal ones. Shapes (units,), (units,).
    """
    if _are_plain(units, contexts):
        low, found = _covered_in_order(units.span_arrays(), contexts.span_arrays())
        if (low[1:] >= (low + found)[:-1]).all():  # no two contexts have a unit in common
            of_found, owner = ranges(low, found)
            best = np.full(len(units), -1, np.int64)
            best[of_found] = owner
            return best, (best >= 0).astype(np.int64)
    unit, context, shared = _merge(*_pairs(units, contexts))
    count = np.bincount(unit, minlength=len(units))
    best = np.full(len(units), -1, np.int64)
    order = np.lexsort((-context, shared, unit))
    best[unit[order]] = context[order]  # the last write of each unit wins: most characters, lowest context
    return best, count


def unit_ranges(entities: Layer, units: Layer) -> UnitRanges:
    """Return the segments of consecutive units that each entity covers.

    A unit is covered if it shares a character with an entity's span, or is empty and lies strictly inside one or in
    the place of an empty one. An entity with boxes and no span covers the units whose box centres lie in it. Segments
    of one entity that touch are one. An entity that covers no unit has no row.
    """
    spans, unit_spans = entities.span_arrays(), units.span_arrays()
    if _are_plain(units, entities):
        low, count = _covered_in_order(unit_spans, spans)
        entity = np.flatnonzero(count)
        first, stop = low[entity], (low + count)[entity]
        starts_in = spans.start[entity] > unit_spans.start[first]
        stops_in = spans.stop[entity] < unit_spans.stop[stop - 1]
        return UnitRanges(entity, first, stop, starts_in, stops_in)
    unit_row, entity_row = _touching(unit_spans, spans, empty_inside=True)
    entity, unit = spans.entity[entity_row], unit_spans.entity[unit_row]
    entity_start, entity_stop = spans.start[entity_row], spans.stop[entity_row]
    starts_in = (entity_start > unit_spans.start[unit_row]) & (entity_start < unit_spans.stop[unit_row])
    stops_in = (entity_stop > unit_spans.start[unit_row]) & (entity_stop < unit_spans.stop[unit_row])
    boxless = np.bincount(spans.entity, minlength=len(entities)) == 0
    if boxless.any():
        box_entity, box_unit = units_in_boxes(entities, units, boxless)
        no = np.zeros(len(box_entity), bool)
        entity, unit = (np.concatenate((entity, box_entity)), np.concatenate((unit, box_unit)))
        starts_in, stops_in = (np.concatenate((starts_in, no)), np.concatenate((stops_in, no)))
    return _segments(entity, unit, starts_in, stops_in)


def units_in_boxes(
    entities: Layer, units: Layer, chosen: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs (entity, unit) where the centre of the unit's first box lies in a box of a chosen entity."""
    boxes, unit_boxes = entities.box_arrays(), units.box_arrays()
    x = unit_boxes.left + unit_boxes.width / 2
    y = unit_boxes.top + unit_boxes.height / 2
    page, unit = unit_boxes.page, unit_boxes.entity
    if len(unit) and (unit[1:] == unit[:-1]).any():
        first = np.flatnonzero(np.diff(unit, prepend=-1))
        x, y, page, unit = x[first], y[first], page[first], unit[first]
    box_rows = np.flatnonzero(chosen[boxes.entity])
    inside, box = _points_in_boxes(x, y, page, boxes, box_rows)
    return boxes.entity[box], unit[inside]


def reading_order(units: Layer) -> NDArray[np.int64] | None:
    """Return the units as they stand in the text; None where the layer has them in this order already.

    They stand by their first character, of equal ones by their last, else as in the layer. A unit without spans
    follows the unit that it follows in the layer; where there is none before it, it comes first. Shape (units,).
    """
    places = units._places()
    if places.spans_follow or not len(places.spans):
        return None
    has_span = np.diff(places.span_offsets) > 0
    first = np.zeros(len(units), np.int64)
    last = np.zeros(len(units), np.int64)
    begins = places.span_offsets[:-1][has_span]
    first[has_span] = np.minimum.reduceat(places.spans.start, begins)
    last[has_span] = np.maximum.reduceat(places.spans.stop, begins)
    number = np.arange(len(units))
    leader = np.maximum.accumulate(np.where(has_span, number, -1))
    before_all = leader < 0
    order = np.lexsort(
        (
            number,
            leader,
            np.where(before_all, -1, last[leader]),
            np.where(before_all, -1, first[leader]),
        )
    )
    return None if (order == number).all() else order


def rank_of_spans(units: Layer) -> NDArray[np.int64]:
    """Return how many of the layer's spans stand before each: by start, then stop, then as in the layer."""
    places = units._places()
    if places.spans_follow:
        return np.arange(len(places.spans))
    rank = np.empty(len(places.spans), np.int64)
    rank[np.lexsort((places.spans.stop, places.spans.start))] = np.arange(len(rank))
    return rank


def _are_plain(units: Layer, others: Layer) -> bool:
    """Return whether the units stand one after the other as text does, and each of the others has one span."""
    return units._places().spans_follow and others._places().one_span_each


def _covered_in_order(units: SpanArrays, spans: SpanArrays) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first unit that each span shares a character with, and how many do; of units that follow."""
    low = np.searchsorted(units.stop, spans.start, "right")
    high = np.searchsorted(units.start, spans.stop, "left")
    return low, np.where(spans.stop > spans.start, high - low, 0)


def _pairs(units: Layer, contexts: Layer) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return each unit with each context it lies in, once a pair of spans, and how many characters these share."""
    unit_spans, spans = units.span_arrays(), contexts.span_arrays()
    unit_row, row = _touching(unit_spans, spans, empty_inside=False)
    shared = np.minimum(unit_spans.stop[unit_row], spans.stop[row]) - np.maximum(
        unit_spans.start[unit_row], spans.start[row]
    )
    unit, context = unit_spans.entity[unit_row], spans.entity[row]
    unit_spanless = np.bincount(unit_spans.entity, minlength=len(units)) == 0
    spanless = np.bincount(spans.entity, minlength=len(contexts)) == 0
    if unit_spanless.any() or spanless.any():
        by_box_context, by_box_unit = units_in_boxes(contexts, units, np.ones(len(contexts), bool))
        wanted = unit_spanless[by_box_unit] | spanless[by_box_context]
        unit = np.concatenate((unit, by_box_unit[wanted]))
        context = np.concatenate((context, by_box_context[wanted]))
        shared = np.concatenate((shared, np.zeros(int(wanted.sum()), np.int64)))
    return unit, context, shared


def _merge(
    unit: NDArray[np.int64], context: NDArray[np.int64], shared: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    if not len(unit):
        return unit, context, shared
    order = np.lexsort((context, unit))
    unit, context, shared = unit[order], context[order], shared[order]
    new = np.flatnonzero((np.diff(unit, prepend=-1) != 0) | (np.diff(context, prepend=-1) != 0))
    return unit[new], context[new], np.add.reduceat(shared, new)


def _touching(
    units: SpanArrays, spans: SpanArrays, *, empty_inside: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows (unit, span) that share a character.

    Of a unit with an empty span: those of spans around its place; with ``empty_inside`` the place must be strictly
    inside, or the span be empty there too, else it may be the start. Other empty ``spans`` touch nothing.
    """
    solid = np.flatnonzero(units.stop > units.start)
    empty = np.flatnonzero(units.stop <= units.start)
    rows, span_rows = _overlapping(units.start[solid], units.stop[solid], spans.start, spans.stop)
    rows = solid[rows]
    if len(empty):
        place = units.start[empty]
        reach = np.maximum(spans.stop, spans.start + 1) if empty_inside else spans.stop
        more, more_spans = _overlapping(place, place + 1, spans.start, reach)
        if empty_inside:
            inside = (spans.start[more_spans] < place[more]) | (spans.stop[more_spans] == place[more])
            more, more_spans = more[inside], more_spans[inside]
        rows, span_rows = (np.concatenate((rows, empty[more])), np.concatenate((span_rows, more_spans)))
    return rows, span_rows


def _overlapping(
    start: NDArray[np.int64], stop: NDArray[np.int64], other_start: NDArray[np.int64], other_stop: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows (of these, of those) of non-empty half-open intervals that overlap.

    With these sorted by start, the greatest stop so far is sorted as well. So of each other interval, what overlaps
    lies between the first row whose greatest stop passes its start and the last that begins before its stop; where
    these overlap among themselves, some in between do not, and are taken out again.
    """
    order = np.argsort(start, kind="stable")
    start, stop = start[order], stop[order]
    reach = np.maximum.accumulate(stop) if len(stop) else stop
    low = np.searchsorted(reach, other_start, "right")
    high = np.searchsorted(start, other_stop, "left")
    rows, others = ranges(low, np.where(other_stop > other_start, np.maximum(high - low, 0), 0))
    if len(stop) and (reach != stop).any():
        real = stop[rows] > other_start[others]
        rows, others = rows[real], others[real]
    return order[rows], others


def ranges(first: NDArray[np.int64], count: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers ``first[i], …, first[i] + count[i] - 1`` for each i in turn, and beside each its i.

    >>> [found.tolist() for found in ranges(np.array([5, 1]), np.array([2, 3]))]
    [[5, 6, 1, 2, 3], [0, 0, 1, 1, 1]]
    """
    owner = np.repeat(np.arange(len(count)), count)
    return np.arange(len(owner)) + (first - np.cumsum(count) + count)[owner], owner


def _points_in_boxes(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    page: NDArray[np.int64],
    boxes: BoxArrays,
    box_rows: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs (point, box) where a point lies in a box, edges included, box by box."""
    if not len(x) or not len(box_rows):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    left, top = boxes.left[box_rows], boxes.top[box_rows]
    right, bottom = left + boxes.width[box_rows], top + boxes.height[box_rows]
    # One number that sorts by page, then by height: heights are shares of the page, hardly beyond 0 to 1.
    tall = 2 * (4.0 + max(np.abs(y).max(), np.abs(top).max(), np.abs(bottom).max()))
    key = page * tall + y
    by_height = np.argsort(key, kind="stable")  # fast where points are nearly sorted, as those of text are
    key, x, y, page = key[by_height], x[by_height], y[by_height], page[by_height]
    begin = boxes.page[box_rows] * tall
    slack = 1e-9 * (np.abs(begin) + tall)
    low = np.searchsorted(key, begin + top - slack, "left")
    high = np.searchsorted(key, begin + bottom + slack, "right")
    at, box = ranges(low, np.maximum(high - low, 0))
    wide = (x[at] >= left[box]) & (x[at] <= right[box])
    at, box = at[wide], box[wide]
    inside = (y[at] >= top[box]) & (y[at] <= bottom[box]) & (page[at] == boxes.page[box_rows][box])
    if not inside.all():
        at, box = at[inside], box[inside]
    return by_height[at], box_rows[box]


def _segments(
    entity: NDArray[np.int64], unit: NDArray[np.int64], starts_in: NDArray[np.bool_], stops_in: NDArray[np.bool_]
) -> UnitRanges:
    if not len(entity):
        none = np.zeros(0, np.int64)
        return UnitRanges(none, none, none, none.astype(bool), none.astype(bool))
    order = np.lexsort((unit, entity))
    entity, unit, starts_in, stops_in = (entity[order], unit[order], starts_in[order], stops_in[order])
    # Several spans of an entity in one unit: its edge is reached if one of them reaches it.
    pair = np.flatnonzero((np.diff(entity, prepend=-1) != 0) | (np.diff(unit, prepend=-1) != 0))
    starts_in, stops_in = (np.logical_and.reduceat(starts_in, pair), np.logical_and.reduceat(stops_in, pair))
    entity, unit = entity[pair], unit[pair]
    new = (np.diff(entity, prepend=-1) != 0) | (np.diff(unit, prepend=-2) > 1)
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(entity)) - 1
    return UnitRanges(entity[first], unit[first], unit[last] + 1, starts_in[first], stops_in[last])

"""The places of entities that are made of units: the units' own, joined where nothing lies between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from papermage_core.document.arrays import BoxArrays, SpanArrays
from papermage_core.document.characters import white_space
from papermage_core.document.columns import Columns
from papermage_core.document.queries import ranges, rank_of_spans, reading_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from papermage_core.document.layer import Layer

__all__ = ["merged_places"]

_WORD_GAP = 0.015
"""How far apart two boxes of one line may be, as a share of the page: less than columns are, more than words."""


def merged_places(units: Layer, entity: NDArray[np.int64], unit: NDArray[np.int64], entities: int) -> Columns:
    """Return the spans and boxes of ``entities`` entities, of which ``entity[i]``, never falling, has unit ``unit[i]``.

    Spans of an entity's units become one span where white space at most lies between them, and no span of another
    unit. An empty span stays by itself at either end of such a span, for it would not be found there again. Boxes of
    units whose spans are joined become one box where they stand next to each other in a line: on one page, the middle
    of one at the height of the other, and no further apart than words are. Units without spans keep their boxes.
    """
    places = units._places()
    order = reading_order(units)
    if order is not None:
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        sort = np.lexsort((rank[unit], entity))
        entity, unit = entity[sort], unit[sort]
    row, pair = ranges(places.span_offsets[unit], np.diff(places.span_offsets)[unit])
    place = rank_of_spans(units)[row]
    if not places.spans_follow:
        sort = np.lexsort((place, entity[pair]))
        row, pair, place = row[sort], pair[sort], place[sort]
    start, stop = places.spans.start[row], places.spans.stop[row]
    joined = _joined(entity[pair], place, start, stop, units.doc.symbols if units.doc is not None else None)
    spans = _spans(entity[pair], start, stop, joined)
    pair_joined = np.zeros(len(unit), bool)
    pair_joined[pair[::-1]] = joined[::-1]  # the last write wins: that of the pair's first span
    boxes = _boxes(places, entity, unit, pair_joined)
    return Columns(entities, spans, boxes, spans)


def _joined(
    owner: NDArray[np.int64],
    place: NDArray[np.int64],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    symbols: str | None,
) -> NDArray[np.bool_]:
    """Return whether each span goes on where its owner's earlier ones end. Shape (n,), as of each argument."""
    joined = np.zeros(len(owner), bool)
    if len(owner) < 2:
        return joined
    apart = int(stop.max()) + 1  # spans of one owner begin before those of the next, however far they reach
    reach = np.maximum.accumulate(stop + owner * apart)[:-1] - owner[:-1] * apart
    joined[1:] = (owner[1:] == owner[:-1]) & (place[1:] == place[:-1] + 1)
    gaps = np.flatnonzero(joined[1:] & (start[1:] > reach))
    if len(gaps) and symbols:
        words = np.concatenate(([0], np.cumsum(~white_space(symbols))))
        joined[gaps + 1] = words[start[1:][gaps]] == words[reach[gaps]]
    return joined


def _spans(
    owner: NDArray[np.int64], start: NDArray[np.int64], stop: NDArray[np.int64], joined: NDArray[np.bool_]
) -> SpanArrays:
    first = np.flatnonzero(~joined)
    group = np.cumsum(~joined) - 1
    low, high, whose = start[first], np.maximum.reduceat(stop, first) if len(first) else stop, owner[first]
    lone = np.flatnonzero((start == stop) & ((start == low[group]) | (stop == high[group])) & (low < high)[group])
    if len(lone):
        rows = np.stack((np.append(whose, owner[lone]), np.append(low, start[lone]), np.append(high, stop[lone])), 1)
        whose, low, high = np.unique(rows, axis=0).T
    return SpanArrays(low, high, whose)


def _boxes(
    places: Columns, entity: NDArray[np.int64], unit: NDArray[np.int64], pair_joined: NDArray[np.bool_]
) -> BoxArrays:
    boxes = places.boxes
    row, pair = ranges(places.box_offsets[unit], np.diff(places.box_offsets)[unit])
    left, top, page = boxes.left[row], boxes.top[row], boxes.page[row]
    right, bottom = left + boxes.width[row], top + boxes.height[row]
    middle = (top + bottom) / 2
    of_one = (pair[1:] == pair[:-1]) & (np.diff(places.span_offsets) > 0)[unit[pair[1:]]]
    joined = of_one | (pair_joined[pair[1:]] & (pair[1:] == pair[:-1] + 1))
    level = (top[1:] <= middle[:-1]) & (middle[:-1] <= bottom[1:])
    level |= (top[:-1] <= middle[1:]) & (middle[1:] <= bottom[:-1])
    near = np.maximum(left[1:] - right[:-1], left[:-1] - right[1:]) <= _WORD_GAP
    new = np.ones(len(row), bool)
    new[1:] = ~(joined & (page[1:] == page[:-1]) & level & near)
    first = np.flatnonzero(new)
    if len(first) < len(row):
        alone = np.diff(first, append=len(row)) == 1
        left, top = np.minimum.reduceat(left, first), np.minimum.reduceat(top, first)
        width, height = np.maximum.reduceat(right, first) - left, np.maximum.reduceat(bottom, first) - top
        width = np.where(alone, boxes.width[row[first]], width)  # as it was, without an error of rounding
        height = np.where(alone, boxes.height[row[first]], height)
    else:
        width, height = boxes.width[row], boxes.height[row]
    return BoxArrays(left, top, width, height, page[first], entity[pair[first]])

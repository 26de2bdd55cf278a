"""Checks of coordinates against text and pages, whole layers at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from papermage_core.document.arrays import BoxArrays, SpanArrays
from papermage_core.document.columns import Columns
from papermage_core.document.errors import BoxError, Repair
from papermage_core.document.names import PagesFieldName, TokensFieldName
from papermage_core.errors import DataError, counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from papermage_core.document.json.records import Coordinates

__all__ = ["Bounds", "check_coordinates", "page_numbers"]

_EDGE_LENIENT = 0.25
_EDGE_STRICT = 1e-3
_MOST_PAGES = 2.0**31
_EXACT = 2.0**53
"""Up to here a float holds every whole number, so that a page's end is written back as it was read."""


@attrs.frozen(kw_only=True)
class Bounds:
    """What the coordinates of a document must keep to."""

    characters: int
    pages: NDArray[np.int64] | None
    """The numbers that pages have, sorted; None if the document has no pages."""
    lenient: bool
    document: str | None


def page_numbers(pages: Coordinates | None) -> NDArray[np.int64] | None:
    """Return the numbers of the pages: those of their boxes, else 0, 1, …"""
    if pages is None or not pages.entities:
        return None
    if not len(pages.boxes):
        return np.arange(pages.entities)
    numbers = pages.boxes[:, 4]
    found = np.unique(numbers[(numbers >= 0) & (numbers < _MOST_PAGES)]).astype(np.int64)
    return found if len(found) else None  # then every box of a page is refused


def check_coordinates(name: str, coordinates: Coordinates, bounds: Bounds) -> tuple[Columns, list[Repair]]:
    """Return layer ``name`` as columns, and what was repaired. Raises DataError for the first place that is wrong."""
    _check_has_place(name, coordinates, bounds)
    spans, written, repairs = _check_spans(name, coordinates, bounds)
    boxes, more = _check_boxes(name, coordinates, bounds)
    if name == TokensFieldName:
        _check_disjoint(name, written, bounds)
    return Columns(coordinates.entities, spans, boxes, written), repairs + more


def _check_has_place(name: str, coordinates: Coordinates, bounds: Bounds) -> None:
    if coordinates.entities <= len(coordinates.span_entity) and _one_each(
        coordinates.span_entity, coordinates.entities
    ):
        return
    placed = np.zeros(coordinates.entities, bool)
    placed[coordinates.span_entity] = True
    placed[coordinates.box_entity] = True
    if not placed.all():
        raise DataError(
            "an entity needs at least one of `spans` or `boxes`, this one has neither",
            document=bounds.document,
            layer=name,
            entity=int(np.argmin(placed)),
            expected="spans or boxes",
        )


def _one_each(owner: NDArray[np.int64], entities: int) -> bool:
    return len(owner) == entities and bool((owner == np.arange(entities)).all())


def _check_spans(name: str, coordinates: Coordinates, bounds: Bounds) -> tuple[SpanArrays, SpanArrays, list[Repair]]:
    plain = _plain_spans(coordinates, bounds)
    if plain is not None:
        return plain, plain, []
    start, stop = coordinates.spans[:, 0], coordinates.spans[:, 1]

    def refuse(bad: NDArray[np.bool_], what: str, expected: str) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            value = [_number(x) for x in coordinates.spans[row]]
            raise DataError(
                f"span {value} {what}",
                document=bounds.document,
                layer=name,
                entity=int(coordinates.span_entity[row]),
                value=value,
                expected=expected,
            )

    refuse(start < 0, "begins before the text: offsets count from 0", "0 <= start")
    refuse(start > stop, "ends before it begins", "start <= end")
    refuse((start % 1 != 0) | (stop % 1 != 0), "has an offset that is no whole number", "whole numbers")
    if not bounds.lenient:
        refuse(start == stop, "is empty (read leniently to allow it)", "start < end")
    past = stop > bounds.characters
    clipped = stop
    repairs = []
    if past.any():
        repairable = (start <= bounds.characters) & (stop <= _EXACT) & (bounds.lenient and name == PagesFieldName)
        characters = f"the text has {counted(bounds.characters, 'characters')}"
        refuse(past & ~repairable, f"ends past the text: {characters}", f"end <= {bounds.characters}")
        clipped = np.minimum(stop, bounds.characters)
        repairs = [
            Repair(
                kind="span_past_end",
                layer=name,
                entity=int(coordinates.span_entity[row]),
                value=[_number(x) for x in coordinates.spans[row]],
                done=f"ends at {bounds.characters}, where the text ends",
            )
            for row in np.flatnonzero(past)
        ]
    begin = start.astype(np.int64)
    written = SpanArrays(begin, stop.astype(np.int64), coordinates.span_entity)
    if not repairs:
        return written, written, repairs
    return (SpanArrays(begin, clipped.astype(np.int64), coordinates.span_entity), written, repairs)


def _plain_spans(coordinates: Coordinates, bounds: Bounds) -> SpanArrays | None:
    """Return spans of which none is odd in any way; None if one is, or there is none."""
    start, stop = coordinates.spans[:, 0], coordinates.spans[:, 1]
    if not len(start) or not (start.min() >= 0 and stop.max() <= bounds.characters):
        return None
    ordered = start <= stop if bounds.lenient else start < stop
    if not ordered.all():
        return None
    begin, end = start.astype(np.int64), stop.astype(np.int64)  # all are within the text, so none is too large
    return SpanArrays(begin, end, coordinates.span_entity) if (begin == start).all() and (end == stop).all() else None


def _check_boxes(name: str, coordinates: Coordinates, bounds: Bounds) -> tuple[BoxArrays, list[Repair]]:
    table = np.ascontiguousarray(coordinates.boxes.T)
    left, top, width, height, page = table
    if not len(page) or _are_plain_boxes(table, bounds):
        return BoxArrays(left, top, width, height, page.astype(np.int64), coordinates.box_entity), []

    def refuse(bad: NDArray[np.bool_], what: str, expected: str, kind: type[DataError] = DataError) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            value = _box(coordinates.boxes[row])
            raise kind(
                f"box {value} {what}",
                document=bounds.document,
                layer=name,
                entity=int(coordinates.box_entity[row]),
                value=value,
                expected=expected,
            )

    refuse(np.logical_not(np.isfinite(table).all(axis=0)), "has a number that is not finite", "finite numbers")
    refuse((width < 0) | (height < 0), "has a negative width or height", "width and height >= 0", BoxError)
    refuse(
        (page % 1 != 0) | (page < 0) | (page >= _MOST_PAGES),
        "has a page that is no page number",
        "a whole number >= 0",
    )
    with np.errstate(over="ignore"):  # far outside is outside
        over = np.maximum(np.maximum(-left, -top), np.maximum(left + width, top + height) - 1)
    refuse(
        over > (_EDGE_LENIENT if bounds.lenient else _EDGE_STRICT),
        "lies outside the page: boxes are shares of the page, from 0 to 1, not points or pixels",
        "shares of the page, 0 to 1",
    )
    repairs = [
        Repair(
            kind="box_over_edge",
            layer=name,
            entity=int(coordinates.box_entity[row]),
            value=_box(coordinates.boxes[row]),
            done="kept as it is",
        )
        for row in np.flatnonzero(over > _EDGE_STRICT)
    ]
    if bounds.pages is not None:
        numbers = bounds.pages
        known = f"{counted(len(numbers), 'pages')}, {numbers[0]} to {numbers[-1]}"
        refuse(~np.isin(page, numbers), f"is on a page that is not there: the document has {known}", known)
    arrays = BoxArrays(left, top, width, height, page.astype(np.int64), coordinates.box_entity)
    return arrays, repairs


def _are_plain_boxes(table: NDArray[np.float64], bounds: Bounds) -> bool:
    """Whether of boxes (5, n), at least one, none is odd in any way; what is not a number compares false."""
    left, top, width, height, page = table
    low = table.min(axis=1)
    if not (low >= (-_EDGE_STRICT, -_EDGE_STRICT, 0, 0, 0)).all():
        return False
    with np.errstate(over="ignore"):
        if not max((left + width).max(), (top + height).max()) - 1 <= _EDGE_STRICT:
            return False
    last = page.max()
    if not last < _MOST_PAGES or (page != page.astype(np.int64)).any():
        return False
    if bounds.pages is None:
        return True
    first, known = bounds.pages[0], bounds.pages[-1]
    return bool(first <= low[4] and last <= known and known - first + 1 == len(bounds.pages))


def _check_disjoint(name: str, spans: SpanArrays, bounds: Bounds) -> None:
    solid = spans.stop > spans.start
    start, stop, entity = spans.start[solid], spans.stop[solid], spans.entity[solid]
    if len(start) < 2:
        return
    if not (start[1:] >= stop[:-1]).all():
        order = np.argsort(start, kind="stable")
        start, stop, entity = start[order], stop[order], entity[order]
    bad = start[1:] < stop[:-1]
    if bad.any():
        row = int(np.argmax(bad))
        mine, other = int(entity[row + 1]), int(entity[row])
        value = [int(start[row + 1]), int(stop[row + 1])]
        raise DataError(
            f"token {mine} at {value} overlaps token {other} at {[int(start[row]), int(stop[row])]}",
            document=bounds.document,
            layer=name,
            entity=mine,
            value=value,
            expected="tokens that share no character",
        )


def _number(value: Any) -> int | float:
    return int(value) if float(value).is_integer() else float(value)


def _box(row: NDArray[np.float64]) -> list[int | float]:
    return [*(float(x) for x in row[:4]), _number(row[4])]

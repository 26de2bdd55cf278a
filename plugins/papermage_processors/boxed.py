"""Layers of entities with a span and a box each, in the order of the text, as arrays."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

import attrs
import numpy as np

from papermage_core.document import BoxArrays, Document, Layer, SpanArrays
from papermage_processors.layout import unions

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Boxed", "box_arrays", "grouped", "span_boxes", "split"]

_TALL = 1.3
"""Height of a page over its width: boxes are shares of it, and gaps across and down are to be compared."""


@attrs.frozen(eq=False)
class Boxed:
    """Where the entities of a layer stand, those of several boxes or spans by what is around them."""

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    boxes: NDArray[np.float64]
    """Left, top, right, bottom as shares of the page, NaN for none. Shape (n, 4)."""
    page: NDArray[np.int64]
    """-1 without a box. Shape (n,)."""

    @classmethod
    def of(cls, document: Document, name: str) -> Boxed | None:
        """Return the places of a document's layer; None if it has no such layer, or none with boxes."""
        return cls.of_layer(document.get_layer(name)) if document.has_layer(name) else None

    @classmethod
    def of_layer(cls, layer: Layer) -> Boxed | None:
        """Return the places of a layer; None without boxes."""
        spans, given = layer.span_arrays(), layer.box_arrays()
        if not len(spans) or not len(given):
            return None
        start, stop = np.full(len(layer), np.iinfo(np.int64).max), np.full(len(layer), -1)
        np.minimum.at(start, spans.entity, spans.start)
        np.maximum.at(stop, spans.entity, spans.stop)
        page = np.full(len(layer), -1)
        page[given.entity[::-1]] = given.page[::-1]  # that of the first box
        here = given.page == page[given.entity]
        boxes = np.full((len(layer), 4), np.nan)
        edges = np.column_stack([given.left, given.top, given.left + given.width, given.top + given.height])[here]
        np.fmin.at(boxes[:, :2], given.entity[here], edges[:, :2])
        np.fmax.at(boxes[:, 2:], given.entity[here], edges[:, 2:])
        order = np.lexsort((stop, start))
        order = order[start[order] < stop[order]]
        return cls(start[order], stop[order], boxes[order], page[order])

    @property
    def seen(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The boxes in a unit that is the same across and down; the pages, without a box that of the one before."""
        known = np.maximum.accumulate(np.where(self.page >= 0, np.arange(len(self.page)), 0))
        return self.boxes * [1, _TALL, 1, _TALL], self.page[known]


def grouped(units: Boxed, first: NDArray[np.bool_]) -> Layer:
    """Return a layer of groups, each from a first unit to before the next."""
    at = np.flatnonzero(first)
    last = np.append(at[1:], len(first)) - 1
    stop = np.maximum.accumulate(units.stop)[last]
    page = np.maximum.reduceat(units.page, at)
    return Layer.from_arrays(SpanArrays.one_each(units.start[at], stop), box_arrays(unions(units.boxes, first), page))


def box_arrays(boxes: NDArray[np.float64], page: NDArray[np.int64]) -> BoxArrays:
    """Return the boxes of entities that have one each, or, where it is NaN, none."""
    known = np.flatnonzero(~np.isnan(boxes).any(axis=1))
    left, top, right, bottom = boxes[known].T
    return BoxArrays(left.copy(), top.copy(), right - left, bottom - top, page[known], known)


def span_boxes(document: Document, spans: SpanArrays, by_line: bool = False) -> BoxArrays | None:
    """Return a box around the tokens that each span meets, or one for each of their lines; None where none has any."""
    tokens = Boxed.of(document, "tokens")
    if tokens is None:
        return None
    first = np.searchsorted(tokens.stop, spans.start, side="right")
    after = np.searchsorted(tokens.start, spans.stop, side="left")
    count = np.maximum(after - first, 0)
    owner = np.repeat(np.arange(len(count)), count)
    token = np.arange(len(owner)) + (first - np.cumsum(count) + count)[owner]
    boxes, page = tokens.boxes[token], tokens.page[token]
    new = np.ones(len(token), bool)
    new[1:] = owner[1:] != owner[:-1]
    if by_line:
        _, top, _, bottom = boxes.T
        middle = (top + bottom) / 2
        level = (top[1:] <= middle[:-1]) & (middle[:-1] <= bottom[1:])
        level |= (top[:-1] <= middle[1:]) & (middle[1:] <= bottom[:-1])
        new[1:] |= (page[1:] != page[:-1]) | ~level
    found = box_arrays(unions(boxes, new), page[new])
    return attrs.evolve(found, entity=spans.entity[owner[new][found.entity]])


def split(document: Document, pattern: str) -> Layer:
    """Return a layer of what the group of a pattern finds in the text, without the blanks after it."""
    found = ((m.start(1), m.start(1) + len(m[1].rstrip())) for m in re.finditer(pattern, document.symbols or ""))
    ends = np.fromiter(chain.from_iterable(found), np.int64).reshape(-1, 2)
    return Layer.from_arrays(SpanArrays.one_each(ends[:, 0].copy(), ends[:, 1].copy()))

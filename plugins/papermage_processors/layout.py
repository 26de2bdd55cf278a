"""Boxes in reading order → where rows and blocks begin."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Boxes = NDArray[np.float64]

__all__ = ["begin_blocks", "begin_rows", "unions"]

_SHARED = 0.4
"""Share of the lower of two heights that neighbours of one row have in common: superscripts have more."""
_FAR = 3.0
"""Heights between two words that make two rows: columns that are written line by line."""
_GAP, _LOOSER = 0.5, 1.25
"""Heights between two rows that make two blocks, and how much more than the usual gap of the page."""
_LARGER = 1.3
"""How much higher the rows of another block may be, such as headings."""


def begin_rows(boxes: Boxes, page: NDArray[np.int64], turn: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
    """Return which units begin a row. Shape (n,).

    ``boxes`` are left, top, right, bottom, in a unit that is the same across and down, shape (n, 4); NaN where a unit
    has none, which stays in its row. ``turn`` is by how many quarters of a circle the text of each is turned.
    """
    first = np.ones(len(boxes), bool)
    left, top, right, bottom = _upright(boxes, turn).T
    height = bottom - top
    shared = np.minimum(bottom[1:], bottom[:-1]) - np.maximum(top[1:], top[:-1])
    gap = np.maximum(left[1:] - right[:-1], left[:-1] - right[1:])
    first[1:] = shared < _SHARED * np.minimum(height[1:], height[:-1])
    first[1:] |= gap > _FAR * np.maximum(height[1:], height[:-1])
    first[1:] |= page[1:] != page[:-1]
    if turn is not None:
        first[1:] |= turn[1:] != turn[:-1]
    return first


def begin_blocks(
    boxes: Boxes, height: NDArray[np.float64], page: NDArray[np.int64], turn: NDArray[np.int64] | None = None
) -> NDArray[np.bool_]:
    """Return which rows begin a block. Shape (n,). ``height`` is that of a row's usual unit, shape (n,)."""
    first = np.ones(len(boxes), bool)
    left, top, right, bottom = _upright(boxes, turn).T
    lower, higher = np.minimum(height[1:], height[:-1]), np.maximum(height[1:], height[:-1])
    gap = top[1:] - bottom[:-1]
    across = np.minimum(right[1:], right[:-1]) - np.maximum(left[1:], left[:-1])
    below = (across > 0) & (gap > -higher) & (page[1:] == page[:-1])
    if turn is not None:
        below &= turn[1:] == turn[:-1]
    near = below & (gap < 3 * higher)
    usual = _usual(gap / np.where(near, higher, 1), near, page)
    near &= gap < np.maximum(_GAP, _LOOSER * usual) * higher
    first[1:] = ~(near & (higher <= _LARGER * lower))
    return first


def _usual(gaps: NDArray[np.float64], counted: NDArray[np.bool_], page: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the median gap of the page on which each row but the first stands, 0 where none is counted."""
    usual = np.zeros(len(gaps))
    borders = [0, *(np.flatnonzero(page[2:] != page[1:-1]) + 1).tolist(), len(gaps)]
    for start, stop in pairwise(borders):
        found = gaps[start:stop][counted[start:stop]]
        if len(found):
            usual[start:stop] = np.sort(found)[len(found) // 2]
    return usual


def unions(boxes: Boxes, first: NDArray[np.bool_]) -> Boxes:
    """Return the box around the units from each first one to before the next. Shape (groups, 4)."""
    at = np.flatnonzero(first)
    if not len(at):
        return np.zeros((0, 4))
    return np.hstack([np.fmin.reduceat(boxes[:, :2], at), np.fmax.reduceat(boxes[:, 2:], at)])


def _upright(boxes: Boxes, turn: NDArray[np.int64] | None) -> Boxes:
    """Return the boxes of text on its side as if it were upright."""
    if turn is None or not (turn % 2).any():
        return boxes
    aside = boxes[:, [1, 0, 3, 2]]
    return np.where((turn % 2 == 1)[:, None], aside, boxes)

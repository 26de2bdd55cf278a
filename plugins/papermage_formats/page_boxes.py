"""Boxes in the unit of a file, points or dots ↔ shares of the page."""

from __future__ import annotations

from typing import Any

from papermage_core.document import Box, Document
from papermage_core.errors import DataError

__all__ = ["DIGITS", "box_of", "corners_of", "page_sizes", "size_of"]

DIGITS = 12
"""Of a share: what is written as a coordinate and read again is the same."""


def box_of(corners: Any, width: float, height: float, page: int) -> Box:
    """Return the box of left, top, right and bottom, clipped to its page. Raises DataError for what is no box."""
    try:
        left, top, right, bottom = (float(value) for value in corners)
        fine = right >= left and bottom >= top  # no NaN
    except (TypeError, ValueError, OverflowError):
        fine = False
    if not fine:
        raise DataError(f"{corners!r} is no box", value=corners, expected="left, top, right, bottom")
    x1, x2, y1, y2 = (
        round(min(max(value / size, 0.0), 1.0), DIGITS)
        for value, size in ((left, width), (right, width), (top, height), (bottom, height))
    )
    return Box(x1, y1, round(x2 - x1, DIGITS), round(y2 - y1, DIGITS), page)


def corners_of(box: Box, width: float, height: float) -> list[float]:
    """Return left, top, right and bottom; whole numbers where they are as good as whole."""
    return [_whole(share, size) for share, size in zip(box.xy_coordinates, (width, height) * 2, strict=True)]


def _whole(share: float, size: float) -> float:
    near = round(share * size)
    return near if round(near / size, DIGITS) == round(share, DIGITS) else share * size


def size_of(width: Any, height: Any) -> tuple[float, float]:
    """Return the size of a page. Raises DataError for what is none."""
    try:
        size = float(width), float(height)
    except (TypeError, ValueError, OverflowError):
        size = (0.0, 0.0)
    if not all(0 < value < 1e9 for value in size):
        raise DataError(f"a page is {width!r} wide and {height!r} high", value=[width, height], expected="its size")
    return size


def page_sizes(document: Document, usual: tuple[float, float]) -> dict[int, tuple[float, float]]:
    """Return width and height of each page that has a box, from the metadata of pages."""
    sizes: dict[int, tuple[float, float]] = {}
    for number, page in enumerate(document.get_layer("pages") if document.has_layer("pages") else ()):
        at = int(page.boxes[0].page) if page.boxes else number
        try:
            sizes[at] = size_of(page.metadata.get("width", None), page.metadata.get("height", None))
        except DataError:
            sizes[at] = usual
    for name in document.layer_names:
        for number in set(document.get_layer(name).box_arrays().page.tolist()):
            sizes.setdefault(number, usual)
    return sizes

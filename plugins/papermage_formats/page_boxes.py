"""Boxes in the unit of a file, points or dots ↔ shares of the page."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from papermage_core.document import Box, Document
from papermage_core.errors import DataError, counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PageBoxes", "corners_of", "count_page_losses", "page_sizes", "size_of"]

_log = logging.getLogger(__name__)
_SLIGHT = 0.001
"""The share of a page by which a box may lie beyond it: annotation tools round."""
_SIZE = {"width", "height"}
_DIGITS = 12
"""Of a share: what is written as a coordinate and read again is the same."""


class PageBoxes:
    """Makes the boxes of a file, clipped to their pages, and counts those that lie beyond these."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0
        self._first = ""

    def box_of(self, corners: Any, size: tuple[float, float], page: int, document: str | None) -> Box:
        """Return the box of left, top, right and bottom on a page of this size. Raises DataError for what is no box."""
        try:
            left, top, right, bottom = (float(value) for value in corners)
            fine = right >= left and bottom >= top  # no NaN
        except (TypeError, ValueError, OverflowError):
            fine = False
        if not fine:
            raise DataError(f"{corners!r} is no box", value=corners, expected="left, top, right, bottom")
        shares = [value / own for value, own in zip((left, top, right, bottom), size * 2, strict=True)]
        x1, y1, x2, y2 = (round(min(max(share, 0.0), 1.0), _DIGITS) for share in shares)
        if not -_SLIGHT <= min(shares) <= max(shares) <= 1 + _SLIGHT:
            self._count_beyond(1, (left, top, right, bottom), size, page, document)
        return Box(x1, y1, round(x2 - x1, _DIGITS), round(y2 - y1, _DIGITS), page)

    def shares(
        self, corners: NDArray[np.float64], sizes: NDArray[np.float64], pages: NDArray[np.int64], document: str | None
    ) -> NDArray[np.float64]:
        """Return the same of many boxes, as left, top, right and bottom; NaN stays. Shapes (n, 4), (n, 2), (n,)."""
        found: NDArray[np.float64] = corners / np.tile(sizes, 2)
        beyond = np.flatnonzero(((found < -_SLIGHT) | (found > 1 + _SLIGHT)).any(axis=1))
        if len(beyond):
            at = int(beyond[0])
            size: tuple[float, float] = tuple(sizes[at].tolist())
            self._count_beyond(len(beyond), corners[at].tolist(), size, int(pages[at]), document)
        np.clip(found, 0, 1, out=found)
        return np.round(found, _DIGITS, out=found)

    def _count_beyond(
        self, count: int, corners: Sequence[float], size: tuple[float, float], page: int, document: str | None
    ) -> None:
        if not self._count:
            at = ", ".join(f"{value:g}" for value in corners)
            where = f"document {document!r:.100}, page {page + 1}"
            self._first = f"{where}, which is {size[0]:g} wide and {size[1]:g} high: [{at}]"
        self._count += count

    def tell(self) -> None:
        """Warn once, if any lay beyond their pages."""
        if self._count:
            _log.warning(
                "%s: %s beyond the page, whose edge cuts off what is outside; the first: %s",
                *(self._path, counted(self._count, "boxes", "lie"), self._first),
            )


def corners_of(box: Box, width: float, height: float) -> list[float]:
    """Return left, top, right and bottom; whole numbers where they are as good as whole."""
    return [_whole(share, size) for share, size in zip(box.xy_coordinates, (width, height) * 2, strict=True)]


def _whole(share: float, size: float) -> float:
    near = round(share * size)
    return near if round(near / size, _DIGITS) == round(share, _DIGITS) else share * size


def size_of(width: Any, height: Any) -> tuple[float, float]:
    """Return the size of a page. Raises DataError for what is none."""
    try:
        size = float(width), float(height)
    except (TypeError, ValueError, OverflowError):
        size = (0.0, 0.0)
    if not all(0 < value < 1e9 for value in size):
        raise DataError(f"a page is {width!r} wide and {height!r} high", value=[width, height], expected="its size")
    return size


def count_page_losses(document: Document, lost: Counter[str]) -> None:
    """Count what a format that has the size of pages, and nothing else of them, does not hold of them, or misses."""
    pages = [set(page.metadata) for page in document.get_layer("pages")] if document.has_layer("pages") else []
    lost["documents without width and height of pages"] += not pages or any(_SIZE - keys for keys in pages)
    lost["metadata of pages"] += sum(bool(keys - _SIZE) for keys in pages)


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

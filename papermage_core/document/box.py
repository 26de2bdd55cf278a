"""Rectangles on a page."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

__all__ = ["Box"]

_log = logging.getLogger(__name__)


class Box(msgspec.Struct, array_like=True, gc=False):
    """A rectangle by left, top, width and height, as shares of the page, and the number of its page.

    >>> Box(0.1, 0.2, 0.5, 0.25, page=0).center
    (0.35, 0.325)
    """

    l: float  # noqa: E741  # as in magelib
    t: float
    w: float
    h: float
    page: int

    def __post_init__(self) -> None:
        if not self.w >= 0.0:
            raise AssertionError(f"Box width cant be negative, got {self.w!r}")
        if not self.h >= 0.0:
            raise AssertionError(f"Box height cant be negative, got {self.h!r}")
        self.l = float(self.l)
        self.t = float(self.t)
        self.w = float(self.w)
        self.h = float(self.h)
        self.page = int(self.page)

    def to_json(self) -> list[float | int]:
        """Return ``[l, t, w, h, page]``."""
        return [self.l, self.t, self.w, self.h, self.page]

    @classmethod
    def from_json(cls, box_json: Sequence[float | int]) -> Box:
        """Return the box that ``to_json`` wrote."""
        left, top, width, height, page = box_json
        return Box(left, top, width, height, int(page))

    def __repr__(self) -> str:
        return f"Box{self.to_json()}"

    __hash__ = None  # type: ignore[assignment]  # as in magelib: compared by value, and its values may change

    @classmethod
    def from_xy_coordinates(
        cls,
        x1: float,
        y1: float,
        x2: float,
        y2: float,
        page: int,
        page_width: float | None = None,
        page_height: float | None = None,
    ) -> Box:
        """Return the box between two corners, clipped to the page where its width or height is given."""
        if not x2 >= x1:
            raise AssertionError(f"Requires x2 >= x1, got {x1!r} and {x2!r}")
        if not y2 >= y1:
            raise AssertionError(f"Requires y2 >= y1, got {y1!r} and {y2!r}")
        given = (x1, y1, x2, y2)
        if page_width is not None:
            x1, x2 = _clip(x1, page_width), _clip(x2, page_width)
        if page_height is not None:
            y1, y2 = _clip(y1, page_height), _clip(y2, page_height)
        if (x1, y1, x2, y2) != given:
            _log.warning("The coordinates %s lie outside the page and become %s.", given, (x1, y1, x2, y2))
        return Box(x1, y1, x2 - x1, y2 - y1, page)

    @property
    def xy_coordinates(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom."""
        return self.l, self.t, self.l + self.w, self.t + self.h

    def to_relative(self, page_width: float, page_height: float) -> Box:
        """Return the box as shares of a page of this size."""
        return Box(self.l / page_width, self.t / page_height, self.w / page_width, self.h / page_height, self.page)

    def to_absolute(self, page_width: float, page_height: float) -> Box:
        """Return the box in the unit of this page size."""
        return Box(self.l * page_width, self.t * page_height, self.w * page_width, self.h * page_height, self.page)

    @property
    def center(self) -> tuple[float, float]:
        """The middle, from the left and from the top."""
        return self.l + self.w / 2, self.t + self.h / 2

    def is_overlap(self, other: Box) -> bool:
        """Say whether the two share an area, or are equal in one direction and share a stretch of the other."""
        if self.page != other.page:
            return False
        x1, y1, x2, y2 = self.xy_coordinates
        left, top, right, bottom = other.xy_coordinates
        return _overlap(x1, x2, left, right) and _overlap(y1, y2, top, bottom)

    @classmethod
    def create_enclosing_box(cls, boxes: Sequence[Box]) -> Box:
        """Return the narrowest box that holds all of ``boxes``. Raises ValueError for none, and for several pages."""
        if not boxes:
            raise ValueError("`boxes` should be non-empty.")
        pages = {box.page for box in boxes}
        if len(pages) != 1:
            raise ValueError(f"Boxes not all on same page. Pages={pages}")
        left, top = min(box.l for box in boxes), min(box.t for box in boxes)
        right, bottom = (max(box.l + box.w for box in boxes), max(box.t + box.h for box in boxes))
        return Box(left, top, right - left, bottom - top, boxes[0].page)


def _clip(value: float, most: float) -> float:
    return min(max(value, 0), most)


def _overlap(start: float, stop: float, other_start: float, other_stop: float) -> bool:
    return (
        start <= other_start < stop
        or other_start <= start < other_stop
        or (start == other_start and stop == other_stop)
    )

"""The places of a layer's entities as arrays: what queries over whole layers work on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from papermage_core.document.box import Box

__all__ = ["BoxArrays", "SpanArrays", "offsets_of"]


@attrs.frozen(eq=False)
class SpanArrays:
    """One row a span, in the order of the layer. Shapes (spans,), int64."""

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    entity: NDArray[np.int64]
    """Index of the span's entity in the layer, never falling."""

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def one_each(cls, start: ArrayLike, stop: ArrayLike) -> SpanArrays:
        """Return the spans of entities that have one each."""
        starts = np.asarray(start, np.int64)
        return cls(starts, np.asarray(stop, np.int64), np.arange(len(starts)))


@attrs.frozen(eq=False)
class BoxArrays:
    """One row a box, in the order of the layer. Shapes (boxes,); float64, page and entity int64."""

    left: NDArray[np.float64]
    top: NDArray[np.float64]
    width: NDArray[np.float64]
    height: NDArray[np.float64]
    page: NDArray[np.int64]
    entity: NDArray[np.int64]
    """Index of the box's entity in the layer, never falling."""

    def __len__(self) -> int:
        return len(self.left)

    @classmethod
    def none(cls) -> BoxArrays:
        """Return no boxes."""
        places, numbers = np.empty(0), np.empty(0, np.int64)
        return cls(places, places, places, places, numbers, numbers)

    def touching(self, box: Box) -> NDArray[np.bool_]:
        """Return whether each box has a point in common with ``box``, edges included. Shape (boxes,)."""
        x1, y1, x2, y2 = box.xy_coordinates
        across = (self.left <= x2) & (self.left + self.width >= x1)
        down = (self.top <= y2) & (self.top + self.height >= y1)
        return across & down & (self.page == box.page)  # type: ignore[no-any-return]


def offsets_of(entity: NDArray[np.int64], entities: int) -> NDArray[np.int64]:
    """Return where each entity's rows begin, and last where they end. Shape (entities + 1,).

    >>> offsets_of(np.array([0, 0, 2]), 3).tolist()
    [0, 2, 2, 3]
    """
    offsets = np.zeros(entities + 1, np.int64)
    np.cumsum(np.bincount(entity, minlength=entities), out=offsets[1:])
    return offsets

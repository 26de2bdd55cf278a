"""Contexts → windows: stretches of units whose wordpieces fit the model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import attrs
import numpy as np

from papermage_core.plugin import Context, Window
from papermage_transformers.layout import BoxStyle
from papermage_transformers.once import WarnOnce
from papermage_transformers.wordpieces import WordpieceTable, ragged_positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["WindowMaker", "cut"]

logger = logging.getLogger(__name__)


@attrs.frozen(eq=False, kw_only=True)
class WindowMaker:
    """Makes windows of contexts.

    Features: ``ids`` int32 (wordpieces,), ``lengths`` int32 (units,), wordpieces of each unit with the indicator before
    it; with indicators ``indicators`` bool (units,), whether one stands before the unit; with boxes ``boxes``
    (units, 4) as the model takes them.
    """

    table: WordpieceTable
    capacity: int
    """Most wordpieces of text in one sequence."""
    specials: int
    """Special wordpieces around the text of a sequence."""
    indicator_layer: str | None = None
    indicator: int = 0
    """Wordpiece put where the unit's group in `indicator_layer` is not that of the unit before."""
    box_style: BoxStyle | None = None
    _warn_of_stride: WarnOnce = attrs.field(factory=lambda: WarnOnce(logger), init=False, repr=False)
    _warn_of_boxes: WarnOnce = attrs.field(factory=lambda: WarnOnce(logger), init=False, repr=False)
    _warn_of_layer: WarnOnce = attrs.field(factory=lambda: WarnOnce(logger), init=False, repr=False)

    def windows(self, contexts: Sequence[Context], stride: int) -> list[list[Window]]:
        """Return the windows of each context; all contexts are tokenized at once."""
        filled = [context for context in contexts if len(context)]
        if not filled:
            return [[] for _ in contexts]
        self._warn(filled, stride)
        words = list(chain.from_iterable(context.words for context in filled))
        ids, lengths = self.table.encode(words, np.concatenate([context.space_before for context in filled]))
        features: dict[str, NDArray[np.generic]] = {}
        if self.indicator_layer:
            marked = np.concatenate([_boundaries(context, self.indicator_layer) for context in filled])
            ids, lengths = _insert(ids, lengths, marked, self.indicator)
            features["indicators"] = marked
        if self.box_style:
            features["boxes"] = np.concatenate([self.box_style.normalise(c.boxes, len(c)) for c in filled])
        features["lengths"] = lengths
        ends = np.concatenate([[0], np.cumsum(lengths)])
        windows, first = [], 0
        for context in contexts:
            last = first + len(context)
            stretches = cut(ends[first : last + 1], self.capacity, stride) if len(context) else []
            windows.append([self._window(first, start, stop, ids, ends, features) for start, stop in stretches])
            first = last
        return windows

    def _warn(self, contexts: Sequence[Context], stride: int) -> None:
        """Say, once for each encoder, what of the data or of ``stride`` the windows cannot do justice to."""
        most = _overlap(self.capacity, stride)
        if most < stride:
            self._warn_of_stride(
                "stride=%d is too much for windows of %d wordpieces (encoder.max_length=%d, special ones included): "
                "neighbouring windows share %d units at most",
                stride,
                self.capacity,
                self.capacity + self.specials,
                most,
            )
        if self.indicator_layer and not self._warn_of_layer.done:
            without = next((c for c in contexts if self.indicator_layer not in c.groups), None)
            if without is not None:
                self._warn_of_layer(
                    "Some documents have no layer %r, which encoder.layout_indicator names, and get no indicators. "
                    "First: %r",
                    self.indicator_layer,
                    " ".join(without.words[:8]),
                )
        if self.box_style and not self._warn_of_boxes.done:
            bare = next((c for c in contexts if c.boxes is None or np.isnan(c.boxes[:, 0]).all()), None)
            if bare is not None:
                self._warn_of_boxes(
                    "The units of some contexts have no boxes; the layout model reads them as if they all lay at the "
                    "corner of the page. First: %r",
                    " ".join(bare.words[:8]),
                )

    def _window(
        self,
        first: int,
        start: int,
        stop: int,
        ids: NDArray[np.int32],
        ends: NDArray[np.int64],
        features: dict[str, NDArray[np.generic]],
    ) -> Window:
        begin, end = int(ends[first + start]), int(ends[first + stop])
        own = {name: values[first + start : first + stop] for name, values in features.items()}
        return Window(start, stop, {"ids": ids[begin:end], **own}, end - begin + self.specials)


def cut(ends: NDArray[np.int64], capacity: int, stride: int) -> list[tuple[int, int]]:
    """Return the half-open stretches of units that windows take, overlapping by ``stride`` units where that fits.

    ``ends`` are the cumulated lengths of n units, shape (n + 1,). Every stretch is as long as ``capacity`` allows,
    reaches further than the one before, and shares less than half of its units with the next; a unit longer than
    ``capacity`` stands alone.

    >>> cut(np.array([0, 1, 2, 3, 4, 5]), capacity=3, stride=1)
    [(0, 3), (2, 5)]
    """
    n = len(ends) - 1
    if ends[n] - ends[0] <= capacity:
        return [(0, n)]
    stretches, start = [], 0
    while True:
        stop = max(int(np.searchsorted(ends, ends[start] + capacity, side="right")) - 1, start + 1)
        stretches.append((start, stop))
        if stop == n:
            return stretches
        enough = int(np.searchsorted(ends, ends[stop + 1] - capacity))  # from here the next unit still fits
        start = min(max(stop - _overlap(stop - start, stride), enough), stop)


def _overlap(length: int, stride: int) -> int:
    """Return how many of its units a stretch shares with the next: so few that each stretch goes well forward."""
    return min(stride, (length - 1) // 2)


def _boundaries(context: Context, layer: str) -> NDArray[np.bool_]:
    """Return where a unit's group differs from that of the unit before. Shape (n,)."""
    marked = np.zeros(len(context), np.bool_)
    groups = context.groups.get(layer)
    if groups is not None:
        marked[1:] = groups[1:] != groups[:-1]
    return marked


def _insert(
    ids: NDArray[np.int32], lengths: NDArray[np.int32], marked: NDArray[np.bool_], indicator: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return ids and lengths with ``indicator`` before the ids of every marked unit."""
    longer = lengths + marked
    starts = np.cumsum(longer, dtype=np.int64) - longer
    out = np.full(int(longer.sum()), indicator, np.int32)
    out[ragged_positions(starts + marked, lengths)] = ids
    return out, longer

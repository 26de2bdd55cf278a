"""Entities of many documents as arrays, on one line of units, and which of two sides match or share units."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from papermage_core.document.queries import ranges

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from papermage_core.plugin.spec import UnitSpan

__all__ = ["Numbers", "Side", "Sides", "joined_keys", "sharing"]

_FITS = 1 << 62


class Numbers(dict[Any, int]):
    """Numbers things in the order in which they are first asked for.

    >>> numbers = Numbers()
    >>> numbers["a"], numbers["b"], numbers["a"]
    (0, 1, 0)
    """

    def __missing__(self, key: Any) -> int:
        number = self[key] = len(self)
        return number


class _Buffer:
    """What is taken in of one side before it is counted."""

    def __init__(self) -> None:
        self.document, self.label, self.start, self.stop, self.shape, self.kind = (array("q") for _ in range(6))

    def __len__(self) -> int:
        return len(self.label)

    def arrays(self) -> list[NDArray[np.int64]]:
        columns = (self.document, self.label, self.start, self.stop, self.shape, self.kind)
        return [np.array(column, np.int64) for column in columns]


@attrs.frozen(eq=False)
class Side:
    """The different entities of one side, of several documents. Shapes (n,)."""

    document: NDArray[np.int64]
    label: NDArray[np.int64]
    start: NDArray[np.int64]
    """Place of the first unit on the line that all documents share."""
    stop: NDArray[np.int64]
    kind: NDArray[np.int64]
    """What the caller sorted entities by."""
    key: NDArray[np.int64]
    """Equal for equal entities, on both sides."""
    place_key: NDArray[np.int64]
    """Equal for entities at one place, whatever their labels."""
    is_discontinuous: NDArray[np.bool_]
    owner: NDArray[np.int64]
    """The entity of each segment, ascending. Shape (segments,), as those that follow."""
    segment_start: NDArray[np.int64]
    segment_stop: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.label)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """How many units each entity has."""
        if len(self.owner) == len(self):
            return self.stop - self.start
        lengths = self.segment_stop - self.segment_start
        return np.bincount(self.owner, weights=lengths, minlength=len(self)).astype(np.int64)


class Sides:
    """Takes gold and predicted entities in, document by document, as arrays."""

    def __init__(self) -> None:
        self.labels = Numbers()
        self._shapes = Numbers()
        self._gold, self._predicted = _Buffer(), _Buffer()

    def __len__(self) -> int:
        return len(self._gold) + len(self._predicted)

    def add(
        self,
        document: int,
        gold: Sequence[UnitSpan],
        predicted: Sequence[UnitSpan],
        kinds: tuple[Iterable[int], Iterable[int]] | None = None,
    ) -> None:
        """Take in what a document has; ``kinds`` are numbers for the entities of each side."""
        for side, (buffer, spans) in enumerate(((self._gold, gold), (self._predicted, predicted))):
            places = [span.segments for span in spans]
            buffer.document.extend([document] * len(spans))
            buffer.label.extend([self.labels[span.label] for span in spans])
            buffer.start.extend([place[0][0] for place in places])
            buffer.stop.extend([place[-1][1] for place in places])
            buffer.shape.extend([0 if len(place) == 1 else 1 + self._shapes[_relative(place)] for place in places])
            buffer.kind.extend([0] * len(spans) if kinds is None else kinds[side])

    def take(self) -> tuple[Side, Side]:
        """Return both sides as they are so far, each entity once, and begin anew."""
        gold, predicted = self._gold.arrays(), self._predicted.arrays()
        self._gold, self._predicted = _Buffer(), _Buffer()
        document = np.concatenate([gold[0], predicted[0]])
        stop = np.concatenate([gold[3], predicted[3]])
        _, at = np.unique(document, return_inverse=True)
        extent = np.zeros(int(at.max(initial=-1)) + 1, np.int64)
        np.maximum.at(extent, at, stop)
        offset = (np.cumsum(extent) - extent)[at]
        return self.sides(gold, predicted, offset)

    def sides(
        self, gold: Sequence[NDArray[np.int64]], predicted: Sequence[NDArray[np.int64]], offset: NDArray[np.int64]
    ) -> tuple[Side, Side]:
        """Return both sides from columns: document, label, start, stop, shape (0: continuous) and kind.

        ``offset`` is where the document of each entity, of gold then predicted, begins on the common line.
        """
        document, label, start, stop, shape, kind = (np.concatenate(pair) for pair in zip(gold, predicted, strict=True))
        start, stop = start + offset, stop + offset
        place_key = joined_keys(start, stop - start, shape)
        key = joined_keys(place_key, label)
        n = len(gold[0])
        found = []
        for some in (slice(0, n), slice(n, None)):
            _, first = np.unique(key[some], return_index=True)
            chosen = first + (some.start or 0)
            owner, segment_start, segment_stop = self._segments(start[chosen], stop[chosen], shape[chosen])
            found.append(
                Side(
                    document[chosen],
                    label[chosen],
                    start[chosen],
                    stop[chosen],
                    kind[chosen],
                    key[chosen],
                    place_key[chosen],
                    shape[chosen] > 0,
                    owner,
                    segment_start,
                    segment_stop,
                )
            )
        return found[0], found[1]

    def _segments(
        self, start: NDArray[np.int64], stop: NDArray[np.int64], shape: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        if not shape.any():
            return np.arange(len(start)), start, stop
        shapes = [((0, 0),), *self._shapes]
        rows = [
            (i, a + first, b + first) if number else (i, first, last)
            for i, (first, last, number) in enumerate(zip(start.tolist(), stop.tolist(), shape.tolist(), strict=True))
            for a, b in shapes[number]
        ]
        owner, segment_start, segment_stop = np.array(rows, np.int64).reshape(-1, 3).T
        return owner, segment_start, segment_stop


def _relative(place: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    first = place[0][0]
    return tuple((start - first, stop - first) for start, stop in place)


def joined_keys(*columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return one number a row, equal where all columns, none of them negative, are; in their order.

    >>> joined_keys(np.array([0, 1, 1]), np.array([3, 0, 3])).argsort().tolist()
    [0, 1, 2]
    """
    keys, most = columns[0], int(columns[0].max(initial=0))
    for column in columns[1:]:
        width = int(column.max(initial=0)) + 1
        if (most + 1) * width >= _FITS:
            _, keys = np.unique(keys, return_inverse=True)
            most = int(keys.max(initial=0))
        keys = keys * width + column
        most = most * width + width - 1
    return keys


def sharing(one: Side, other: Side) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs, one of each side, that share units, and how many: three arrays (pairs,), in order of the pairs.

    Of two segments that overlap one begins in the other, so the pairs are found by where segments begin, and no long
    entity makes others look further.
    """
    first, second = np.argsort(one.segment_start, kind="stable"), np.argsort(other.segment_start, kind="stable")
    starts, other_starts = one.segment_start[first], other.segment_start[second]
    low = np.searchsorted(other_starts, one.segment_start, "left")
    high = np.searchsorted(other_starts, one.segment_stop, "left")
    at, left = ranges(low, high - low)
    low = np.searchsorted(starts, other.segment_start, "right")
    high = np.searchsorted(starts, other.segment_stop, "left")
    at_one, right = ranges(low, high - low)
    left, right = np.concatenate([left, first[at_one]]), np.concatenate([second[at], right])
    shared = np.minimum(one.segment_stop[left], other.segment_stop[right])
    shared = shared - np.maximum(one.segment_start[left], other.segment_start[right])
    i, j = one.owner[left], other.owner[right]
    pair = i * max(1, len(other)) + j
    if len(one.owner) == len(one) and len(other.owner) == len(other):
        order = np.argsort(pair, kind="stable")
        return i[order], j[order], shared[order]
    pairs, inverse = np.unique(pair, return_inverse=True)
    i, j = np.divmod(pairs, max(1, len(other)))
    return i, j, np.bincount(inverse.reshape(-1), weights=shared, minlength=len(pairs)).astype(np.int64)

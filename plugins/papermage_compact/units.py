"""Features of units other than their words: position in the context, brackets, touching units, repetition."""

from __future__ import annotations

from functools import cache

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_compact.hashing import U64, runs_of
from papermage_compact.words import WordFeatures

__all__ = ["UNIT_ROWS", "UnitFacts", "log_bucket", "unit_rows"]

_SIZES = {"from start": 16, "from end": 16, "decile": 10, "touches": 4, "bracket": 5, "repeats": 8}
UNIT_ROWS = sum(_SIZES.values())
"""Rows of the table that `unit_rows` points into."""


def log_bucket(x: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return a bucket in [0, count) for non-negative integers: exact to 4, then two to a power of two.

    >>> log_bucket(np.array([0, 3, 4, 5, 6, 8, 12, 10**6]), 12)
    array([ 0,  3,  4,  4,  5,  6,  7, 11])
    """
    buckets = _buckets(count)
    return buckets[np.minimum(x, len(buckets) - 1)]


@cache
def _buckets(count: int) -> NDArray[np.int64]:
    """Return the buckets of 0, 1, ... up to a number that is in the last one, as are all after it."""
    x = np.arange(1 << max(2, -(-(count - 1) // 2)) + 1)
    power = np.floor(2 * np.log2(np.maximum(x, 4)) + 1e-9).astype(np.int64)
    return np.minimum(np.where(x < 4, x, power), count - 1)


@attrs.frozen(eq=False)
class UnitFacts:
    """What must be known of n units before the features of some can be told: 12 bytes a unit."""

    lengths: NDArray[np.int64]
    """Units of each context."""
    ends: NDArray[np.int64]
    """The unit after the last of each context."""
    touches: NDArray[np.uint8]
    bracket: NDArray[np.uint8]
    repeats: NDArray[np.uint8]
    """Features of the units. Shapes (n,)."""

    @classmethod
    def of(
        cls,
        lowered: U64,
        depth: NDArray[np.int8],
        space_before: NDArray[np.bool_],
        lengths: NDArray[np.int64],
    ) -> UnitFacts:
        """Return what is known of the units of contexts of ``lengths``, one after the other.

        ``lowered`` and ``depth`` are those of their words' `WordFeatures`.
        """
        starts, _ = runs_of(lengths)
        ends = np.cumsum(lengths)
        space_after = np.append(space_before[1:], True)[: len(space_before)]
        space_after[ends[lengths > 0] - 1] = True
        owner = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        return cls(
            lengths,
            ends,
            (space_before * 2 + space_after).astype(np.uint8),
            _open_brackets(depth, starts, lengths),
            log_bucket(_earlier(lowered, owner), 8).astype(np.uint8),
        )

    def rows(self, start: int, stop: int) -> NDArray[np.uint16]:
        """Return the rows of units ``start`` to ``stop`` in the table of unit features."""
        number = np.arange(start, stop)
        context = np.searchsorted(self.ends, number, "right")
        size, end = self.lengths[context], self.ends[context]
        place = number - end + size
        columns = {
            "from start": log_bucket(place, 16),
            "from end": log_bucket(end - 1 - number, 16),
            "decile": place * 10 // np.maximum(size, 1),
            "touches": self.touches[start:stop],
            "bracket": self.bracket[start:stop],
            "repeats": self.repeats[start:stop],
        }
        rows = np.empty((stop - start, len(_SIZES)), np.uint16)
        first = 0
        for column, (name, size_of) in enumerate(_SIZES.items()):
            rows[:, column] = columns[name]
            rows[:, column] += first
            first += size_of
        return rows


def unit_rows(words: WordFeatures, space_before: NDArray[np.bool_], lengths: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Return the rows of each unit in the table of unit features, for contexts of ``lengths`` one after the other."""
    facts = UnitFacts.of(words.lowered, words.depth, space_before, lengths)
    return facts.rows(0, len(space_before))


def _open_brackets(depth: NDArray[np.int8], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return how many brackets are open at each unit, from -1 as 0 to 3 as 4; a bracket counts itself as inside."""
    total = np.concatenate([[0], np.cumsum(depth, dtype=np.int32)])
    inside = total[1:] + (depth < 0) - np.repeat(total[starts], lengths)
    return np.asarray(np.clip(inside, -1, 3) + 1, np.uint8)


def _earlier(keys: U64, owner: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return for each unit how many units before it in its context have the same word."""
    order = np.lexsort((keys, owner))  # stable, so that equal words stay in their order
    keys, owner = keys[order], owner[order]
    new = np.ones(len(keys), bool)
    new[1:] = (keys[1:] != keys[:-1]) | (owner[1:] != owner[:-1])
    number = np.arange(len(keys))
    out = np.empty(len(keys), np.int64)
    out[order] = number - np.maximum.accumulate(np.where(new, number, 0))
    return out

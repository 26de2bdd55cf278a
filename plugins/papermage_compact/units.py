"""Features of units other than their words: position in the context, brackets, touching units, repetition."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from papermage_compact.hashing import U64, runs_of
from papermage_compact.words import WordFeatures

__all__ = ["UNIT_ROWS", "log_bucket", "unit_rows"]

_SIZES = {"from start": 16, "from end": 16, "decile": 10, "touches": 4, "bracket": 5, "repeats": 8}
UNIT_ROWS = sum(_SIZES.values())
"""Rows of the table that `unit_rows` points into."""


def log_bucket(x: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return a bucket in [0, count) for non-negative integers: exact to 4, then two to a power of two.

    >>> log_bucket(np.array([0, 3, 4, 5, 6, 8, 12, 10**6]), 12)
    array([ 0,  3,  4,  4,  5,  6,  7, 11])
    """
    small = x < 4
    power = np.floor(2 * np.log2(np.maximum(x, 4)) + 1e-9).astype(np.int64)
    return np.minimum(np.where(small, x, power), count - 1)


def unit_rows(words: WordFeatures, space_before: NDArray[np.bool_], lengths: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Return the rows of each unit in the table of unit features, for contexts of ``lengths`` one after the other."""
    starts, place = runs_of(lengths)
    size = np.repeat(lengths, lengths)
    left = size - 1 - place
    space_after = np.ones(len(place), bool)
    space_after[:-1] = space_before[1:]
    space_after |= left == 0
    columns = {
        "from start": log_bucket(place, 16),
        "from end": log_bucket(left, 16),
        "decile": place * 10 // np.maximum(size, 1),
        "touches": space_before * 2 + space_after,
        "bracket": _open_brackets(words.depth, starts, lengths),
        "repeats": log_bucket(_earlier(words.lowered, np.repeat(np.arange(len(lengths)), lengths)), 8),
    }
    firsts = np.cumsum([0, *_SIZES.values()])
    return np.stack([columns[name] + first for name, first in zip(_SIZES, firsts, strict=False)], 1).astype(np.uint16)


def _open_brackets(depth: NDArray[np.int8], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many brackets are open at each unit, -1 to 3; a bracket counts itself as inside."""
    total = np.concatenate([[0], np.cumsum(depth, dtype=np.int64)])
    inside = total[1:] + (depth < 0) - np.repeat(total[starts], lengths)
    return np.asarray(np.clip(inside, -1, 3) + 1, np.int64)


def _earlier(keys: U64, owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each unit how many units before it in its context have the same word."""
    order = np.lexsort((keys, owner))  # stable, so that equal words stay in their order
    new = np.ones(len(keys), bool)
    new[1:] = (keys[order][1:] != keys[order][:-1]) | (owner[order][1:] != owner[order][:-1])
    rank = np.arange(len(keys)) - np.maximum.accumulate(np.where(new, np.arange(len(keys)), 0))
    out = np.empty(len(keys), np.int64)
    out[order] = rank
    return out

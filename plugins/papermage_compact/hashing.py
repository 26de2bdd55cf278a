"""Hashes of many strings at once, in numpy: the same numbers in every process, on every platform and Python.

A string is a run of code points. The hash of a run c₀ … cₙ₋₁ is ``mix(Σ (cᵢ + 1) · Mⁱ + n · L)`` modulo 2⁶⁴ with odd
M and L, where ``mix`` is the finalizer of splitmix64 (Steele, Lea and Flood, 2014). `buckets` maps hashes to rows of a
table.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["U64", "buckets", "code_points", "hash_runs", "hash_windows", "mix", "runs_of"]

U64 = NDArray[np.uint64]

_MULTIPLIER = 0x9E3779B97F4A7C15 | 1
_LENGTH = np.uint64(0xD1342543DE82EF95)
_MASK = (1 << 64) - 1


def mix(x: U64) -> U64:
    """Return a bijection of 64-bit numbers under which like inputs have unlike outputs (splitmix64)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: U64 = x ^ (x >> np.uint64(31))
    return mixed


def buckets(hashes: U64, rows: int, seed: int) -> NDArray[np.int64]:
    """Return a row in [0, rows) for each hash; rows under different seeds are independent."""
    salt = np.uint64(seed * 0xA0761D6478BD642F & _MASK)
    high = mix(hashes ^ salt) >> np.uint64(32)
    return np.asarray(high * np.uint64(rows) >> np.uint64(32), np.int64)


def code_points(strings: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Return the code points of all strings in a row, and the length of each string."""
    lengths = np.fromiter(map(len, strings), np.int64, len(strings))
    codes = np.frombuffer("".join(strings).encode("utf-32-le", "surrogatepass"), "<u4")
    return codes.astype(np.uint32, copy=False), lengths


def runs_of(lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each run starts, and the place of each element in its run.

    >>> runs_of(np.array([2, 0, 3]))
    (array([0, 2, 2]), array([0, 1, 0, 1, 2]))
    """
    starts = np.cumsum(lengths) - lengths
    return starts, np.arange(int(lengths.sum())) - np.repeat(starts, lengths)


def hash_runs(codes: NDArray[np.uint32], lengths: NDArray[np.int64]) -> U64:
    """Return a hash of each run of ``codes``; runs are ``lengths`` long and follow each other."""
    _, place = runs_of(lengths)
    powers = _powers(1 << int(max(int(lengths.max(initial=1)), 1) - 1).bit_length())
    terms = (codes.astype(np.uint64) + np.uint64(1)) * powers[place]
    totals = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])  # wraps, and so do differences
    ends = np.cumsum(lengths)
    return mix(totals[ends] - totals[ends - lengths] + lengths.astype(np.uint64) * _LENGTH)


def hash_windows(codes: NDArray[np.uint32], size: int) -> U64:
    """Return the hash of ``codes[i : i + size]`` for each i; it is the one that `hash_runs` gives to that run."""
    count = max(len(codes) - size + 1, 0)
    powers = _powers(1 << (size - 1).bit_length())
    total = np.full(count, np.uint64(size)) * _LENGTH
    for i in range(size):
        total += (codes[i : i + count].astype(np.uint64) + np.uint64(1)) * powers[i]
    return mix(total)


@lru_cache(maxsize=32)
def _powers(count: int) -> U64:
    powers = [1]
    for _ in range(count - 1):
        powers.append(powers[-1] * _MULTIPLIER & _MASK)
    return np.array(powers, np.uint64)

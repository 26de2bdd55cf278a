"""Documents whose text is that of another, or nearly so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NearDuplicates", "sketch_of"]

_LENGTH = 16
"""Bytes of a shingle."""
_SKETCH = 256
_PERMUTATIONS = 64
_MOST_DOCUMENTS = 200_000
_MOST_LOOKED_AT = 20


def sketch_of(text: str) -> NDArray[np.uint32]:
    """Return the smallest hashes of the stretches of 16 bytes of a text, in lower case and single spaces: a sample.

    Texts that share much have much of it in common (Broder, "On the resemblance and containment of documents", 1997).
    """
    data = " ".join(text.lower().split()).encode("utf-8", "surrogatepass")
    if not data:
        return np.zeros(0, np.uint32)
    data = data.ljust(_LENGTH)
    eight = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,)).astype(np.uint64)  # unaligned, so copied
    half = _LENGTH // 2
    with np.errstate(over="ignore"):
        hashes = eight[:-half] * np.uint64(0x9E3779B97F4A7C15) + eight[half:] * np.uint64(0xC2B2AE3D27D4EB4F)
        hashes = (hashes ^ (hashes >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    found = (hashes >> np.uint64(32)).astype(np.uint32)
    if len(found) > 2 * _SKETCH:
        found = np.partition(found, 2 * _SKETCH)[: 2 * _SKETCH]
    return np.unique(found)[:_SKETCH]


class NearDuplicates:
    """Finds documents that share most of their text with one seen before: MinHash and locality-sensitive hashing.

    Of `datasketch`; ``is_there`` is false without it. Beyond some hundred thousand documents no more are taken in.
    """

    def __init__(self, threshold: float = 0.8) -> None:
        self._threshold = threshold
        self._sketches: list[NDArray[np.uint32]] = []
        self._places: list[Any] = []
        self.is_full = False
        try:
            from datasketch import MinHash, MinHashLSH
        except ImportError:
            self._made: Callable[[], Any] | None = None
            return
        first = MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=int)
        self._made = first.copy
        self._index = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)

    @property
    def is_there(self) -> bool:
        """Whether the library that this needs is installed."""
        return self._made is not None

    def add(self, sketch: NDArray[np.uint32], place: Any) -> tuple[Any, float] | None:
        """Take in a document; return the place of the one before it that is most like it, and how like, from 0 to 1.

        None if none is like it in as much as the threshold says. ``sketch`` is what `sketch_of` gives for its text.
        """
        if self._made is None or not len(sketch):
            return None
        if len(self._places) >= _MOST_DOCUMENTS:
            self.is_full = True
            return None
        minhash = self._made()
        minhash.update_batch(sketch.tolist())
        likely = sorted(map(int, self._index.query(minhash)))[:_MOST_LOOKED_AT]
        alike = max(((_alike(sketch, self._sketches[other]), -other) for other in likely), default=(0.0, 0))
        self._index.insert(str(len(self._places)), minhash, check_duplication=False)
        self._sketches.append(sketch)
        self._places.append(place)
        return (self._places[-alike[1]], alike[0]) if alike[0] >= self._threshold else None


def _alike(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> float:
    """Return the estimate of how much two texts share of what either has, from their smallest hashes."""
    both = np.union1d(one, other)[: max(len(one), len(other))]
    shared = np.isin(both, one, assume_unique=True) & np.isin(both, other, assume_unique=True)
    return float(shared.mean()) if len(both) else 0.0

"""A cache of word features: text costs one dictionary look-up a word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papermage_compact.words import Ragged, WordFeatures

__all__ = ["WordTable"]


class WordTable:
    """Word types seen so far, with their features; emptied when it holds more than ``limit`` of them."""

    def __init__(self, make: Callable[[Sequence[str]], WordFeatures], limit: int = 1 << 16) -> None:
        self._make = make
        self._limit = limit
        self._clear()

    def features(self, words: Sequence[str]) -> WordFeatures:
        """Return the features of the words, in order."""
        if len(self._index) > self._limit:
            self._clear()
        index = self._index
        new = [word for word in dict.fromkeys(words) if word not in index]
        if new or not index:
            self._store(self._make(new))
            index.update(zip(new, range(len(index), len(index) + len(new)), strict=True))
        rows = np.fromiter(map(index.__getitem__, words), np.int64, len(words))
        return self._stored().take(rows)

    def _clear(self) -> None:
        self._index: dict[str, int] = {}
        self._arrays: dict[str, _Growing] = {}

    def _store(self, made: WordFeatures) -> None:
        for name, more in _columns(made).items():
            array = self._arrays.setdefault(name, _Growing(more))
            if name.endswith(".starts"):  # the values of earlier words come first
                more = more + self._count(name.replace("starts", "values"))
            array.extend(more)

    def _count(self, name: str) -> int:
        return len(self._arrays[name].filled) if name in self._arrays else 0

    def _stored(self) -> WordFeatures:
        of = {name: array.filled for name, array in self._arrays.items()}
        ragged = {name: Ragged(of[f"{name}.values"], of[f"{name}.starts"], of[f"{name}.lengths"]) for name in _RAGGED}
        return WordFeatures(of["keys"], of["lowered"], of["rows"], of["depth"], ragged["ngrams"], ragged["pieces"])

    def __getstate__(self) -> dict[str, Any]:
        return {"_make": self._make, "_limit": self._limit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._clear()


_DENSE = ("keys", "lowered", "rows", "depth")
_RAGGED = ("ngrams", "pieces")


def _columns(made: WordFeatures) -> dict[str, NDArray[Any]]:
    """Return the arrays of the features by name, starts before the values that they point into."""
    ragged = {
        f"{name}.{part}": getattr(getattr(made, name), part)
        for name in _RAGGED
        for part in ("lengths", "starts", "values")
    }
    return {name: getattr(made, name) for name in _DENSE} | ragged


class _Growing:
    """An array that rows are appended to without copying it each time."""

    def __init__(self, like: NDArray[Any]) -> None:
        self._room = np.empty((1024, *like.shape[1:]), like.dtype)
        self._used = 0

    @property
    def filled(self) -> NDArray[Any]:
        return self._room[: self._used]

    def extend(self, more: NDArray[Any]) -> None:
        used = self._used + len(more)
        if used > len(self._room):
            room = np.empty((max(used, 2 * len(self._room)), *self._room.shape[1:]), self._room.dtype)
            room[: self._used] = self.filled
            self._room = room
        self._room[self._used : used] = more
        self._used = used

"""Krippendorff's alpha: how far any number of annotators agree, beyond chance."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Alpha", "krippendorff_alpha"]


@attrs.frozen(eq=False)
class Alpha:
    """Counts of pairs of values that two annotators gave to one unit.

    $\\alpha = 1 - D_o / D_e$ for nominal values: the pairs that differ, over those that would if values were paired by
    chance (Krippendorff 2004, *Content Analysis*, chapter 11). Of annotators who left a unit out, the others count.
    """

    _pairs: Counter[tuple[Any, Any]] = attrs.field(factory=Counter, init=False)

    def add(self, values: ArrayLike) -> None:
        """Count units. ``values`` are whole numbers, -1 for none; shape (annotators, units)."""
        columns, counts = np.unique(np.asarray(values, np.int64), axis=1, return_counts=True)
        for column, count in zip(columns.T, counts.tolist(), strict=True):
            given = Counter(column[column >= 0].tolist())
            for one, n in given.items():
                for other, m in given.items():
                    if pairs := n * (m - (one == other)):
                        self._pairs[one, other] += count * pairs / (given.total() - 1)

    @property
    def value(self) -> float | None:
        """1 for all alike, 0 for as by chance, negative for less; None where there is one value only, or no pair."""
        totals = Counter[Any]()
        for (one, _), count in self._pairs.items():
            totals[one] += count
        n = totals.total()
        chance = n * n - sum(count * count for count in totals.values())
        differ = sum(count for (one, other), count in self._pairs.items() if one != other)
        return 1 - (n - 1) * differ / chance if chance > 0 else None


def krippendorff_alpha(values: ArrayLike) -> float | None:
    """Return alpha of nominal values: whole numbers, -1 for none, shape (annotators, units). See `Alpha`.

    >>> round(krippendorff_alpha([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]), 3)
    0.095
    """
    found = Alpha()
    found.add(values)
    return found.value

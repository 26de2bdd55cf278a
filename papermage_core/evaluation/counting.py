"""Counts of entities that are arrays: under softer conditions, and of the overlapping and discontinuous ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from papermage_core.document.queries import ranges
from papermage_core.evaluation.arrays import Side, sharing
from papermage_core.evaluation.scores import Counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["lenient", "subsets"]

_DENSE = 1 << 26
"""Units times labels up to which a table of them all is faster than a sort."""


def lenient(gold: Side, predicted: Side, pairs: tuple[NDArray[np.int64], ...], n_labels: int) -> dict[str, Counts]:
    """Return the counts under softer conditions, see `Scores.lenient`, of entities whose ``pairs`` share units."""
    i, j, _ = pairs
    same = gold.label[i] == predicted.label[j]
    n_gold, n_predicted = len(gold), len(predicted)
    found, right = np.isin(gold.place_key, predicted.place_key), np.isin(predicted.place_key, gold.place_key)
    return {
        "overlap": Counts(gold=n_gold, found=_different(i[same]), predicted=n_predicted, right=_different(j[same])),
        "boundaries": Counts(gold=n_gold, found=int(found.sum()), predicted=n_predicted, right=int(right.sum())),
        "units": _units(gold, predicted, n_labels),
    }


def _different(numbers: NDArray[np.int64]) -> int:
    return int(np.count_nonzero(np.bincount(numbers))) if len(numbers) else 0


def _units(gold: Side, predicted: Side, n_labels: int) -> Counts:
    """Return the counts of labelled units, each once."""
    sides = []
    for side in (gold, predicted):
        units, segment = ranges(side.segment_start, side.segment_stop - side.segment_start)
        sides.append(units * n_labels + side.label[side.owner[segment]])
    size = 1 + max(int(keys.max(initial=-1)) for keys in sides)
    if size > _DENSE:
        different = [np.unique(keys) for keys in sides]
        right = len(np.intersect1d(different[0], different[1], assume_unique=True))
        return Counts(gold=len(different[0]), found=right, predicted=len(different[1]), right=right)
    one, other = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
    one[sides[0]], other[sides[1]] = True, True
    right = int((one & other).sum())
    return Counts(gold=int(one.sum()), found=right, predicted=int(other.sum()), right=right)


def subsets(
    gold: Side, predicted: Side, gold_right: NDArray[np.bool_], predicted_right: NDArray[np.bool_]
) -> dict[str, Counts]:
    """Return the strict counts of the kinds of `Scores.subsets`."""
    of_gold, of_predicted = _kinds(gold), _kinds(predicted)
    return {
        name: Counts(
            gold=int(members.sum()),
            found=int((members & gold_right).sum()),
            predicted=int(of_predicted[name].sum()),
            right=int((of_predicted[name] & predicted_right).sum()),
        )
        for name, members in of_gold.items()
    }


def _kinds(side: Side) -> dict[str, NDArray[np.bool_]]:
    """Return which entities are of each kind."""
    found = {name: np.zeros(len(side), np.bool_) for name in ("overlapping", "overlapping_own_label", "nested")}
    i, j, shared = sharing(side, side)
    apart = i != j
    i, j, shared = i[apart], j[apart], shared[apart]
    own, inside = side.label[i] == side.label[j], shared == side.sizes[i]
    for name, some in (("overlapping", slice(None)), ("overlapping_own_label", own), ("nested", inside)):
        found[name][i[some]] = found[name][j[some]] = True
    return {**found, "discontinuous": side.is_discontinuous}

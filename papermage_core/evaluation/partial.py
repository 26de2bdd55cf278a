"""Credit for what is nearly right: the scores of MUC and SemEval 2013, by the names of nervaluate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from papermage_core.evaluation.arrays import Side

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["STRATEGIES", "Credit", "credit", "credit_per_label"]

STRATEGIES = ("strict", "exact", "partial", "ent_type")
"""strict: label and boundaries; exact: boundaries under any label; partial: the same, with half of a point for units in
common; ent_type: the label, with units in common."""
Pairs = tuple["NDArray[np.int64]", "NDArray[np.int64]", "NDArray[np.int64]"]


@attrs.frozen(kw_only=True)
class Credit:
    """What became of gold and predicted entities under one of the `STRATEGIES`."""

    correct: int = 0
    incorrect: int = 0
    partial: int = 0
    missed: int = 0
    spurious: int = 0

    @property
    def actual(self) -> int:
        """How many were predicted."""
        return self.correct + self.incorrect + self.partial + self.spurious

    @property
    def possible(self) -> int:
        """How many there are in the gold."""
        return self.correct + self.incorrect + self.partial + self.missed

    @property
    def precision(self) -> float:
        """Points over what was predicted: one for correct, half a one for partial."""
        return (self.correct + 0.5 * self.partial) / self.actual if self.actual else 0.0

    @property
    def recall(self) -> float:
        """Points over what there is in the gold."""
        return (self.correct + 0.5 * self.partial) / self.possible if self.possible else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.possible + self.actual
        return (2 * self.correct + self.partial) / total if total else 0.0

    def __add__(self, other: Credit) -> Credit:
        names = [field.name for field in attrs.fields(Credit)]
        return Credit(**{name: getattr(self, name) + getattr(other, name) for name in names})

    def to_json(self) -> dict[str, Any]:
        """Return the counts, and the figures that come of them."""
        figures = ("actual", "possible", "precision", "recall", "f1")
        return {**attrs.asdict(self), **{name: getattr(self, name) for name in figures}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Credit:
        """Return the counts that ``to_json`` wrote."""
        return cls(**{field.name: value[field.name] for field in attrs.fields(cls)})


def credit(gold: Side, predicted: Side, pairs: Pairs) -> dict[str, Credit]:
    """Return what became of the entities, by strategy; ``pairs`` are those of gold and predicted that share units.

    An entity answers for one of the other side only: of equals first, then the first that it overlaps, in the order of
    the text. On entities without overlap these are the counts of nervaluate (which leaves out pairs that share less
    than a hundredth of the gold entity, and so does this).
    """
    matches = _Matches(gold, predicted, pairs)
    n_gold, n_predicted = len(gold), len(predicted)

    def made(**counts: int) -> Credit:
        paired = sum(counts.values())
        return Credit(**counts, missed=n_gold - paired, spurious=n_predicted - paired)

    equal, at_place, near = matches.equal, matches.at_place, len(matches.near())
    right_label, wrong_label = matches.by_label()
    return {
        "strict": made(correct=equal, incorrect=at_place - equal + near),
        "exact": made(correct=at_place, incorrect=near),
        "partial": made(correct=at_place, partial=near),
        "ent_type": made(correct=right_label, incorrect=wrong_label),
    }


def credit_per_label(gold: Side, predicted: Side, pairs: Pairs, n_labels: int) -> list[dict[str, Credit]]:
    """Return, for each label, what became of its entities where there were no others."""
    i, j, shared = pairs
    same = gold.label[i] == predicted.label[j]
    matches = _Matches(gold, predicted, (i[same], j[same], shared[same]))
    counts = (
        np.bincount(side.label[of], minlength=n_labels).tolist()
        for side, of in (
            (gold, slice(None)),
            (predicted, slice(None)),
            (gold, matches.exact_gold),
            (gold, matches.near()),
        )
    )
    found = []
    for n_gold, n_predicted, right, near in zip(*counts, strict=True):
        missed, spurious = n_gold - right - near, n_predicted - right - near
        strict = Credit(correct=right, incorrect=near, missed=missed, spurious=spurious)
        found.append(
            {
                "strict": strict,
                "exact": strict,
                "partial": Credit(correct=right, partial=near, missed=missed, spurious=spurious),
                "ent_type": Credit(correct=right + near, missed=missed, spurious=spurious),
            }
        )
    return found


class _Matches:
    """Which gold entity each prediction answers for."""

    def __init__(self, gold: Side, predicted: Side, pairs: Pairs) -> None:
        i, j, shared = pairs
        enough = (100 * shared >= gold.sizes[i]) | (gold.place_key[i] == predicted.place_key[j])
        self._gold, self._predicted = gold, predicted
        self._i, self._j = i[enough], j[enough]
        i, j = self._i, self._j
        same_place = gold.place_key[i] == predicted.place_key[j]
        same_label = gold.label[i] == predicted.label[j]
        exact = same_place & same_label
        self.exact_gold = i[exact]
        self.equal = int(exact.sum())
        used_gold, used_predicted = np.zeros(len(gold), np.bool_), np.zeros(len(predicted), np.bool_)
        used_gold[i[exact]], used_predicted[j[exact]] = True, True
        rest = np.flatnonzero(same_place & ~used_gold[i] & ~used_predicted[j])
        for pair in _one_to_one(i[rest], j[rest]):  # at one place, under another label
            used_gold[i[rest[pair]]], used_predicted[j[rest[pair]]] = True, True
        self.at_place = int(used_gold.sum())
        self._free = ~used_gold[i] & ~used_predicted[j]
        self._free_label = ~np.isin(i, i[exact]) & ~np.isin(j, j[exact])
        self._same_label = same_label

    def near(self) -> NDArray[np.int64]:
        """Return the gold entities that a prediction answers for which is not at their place."""
        i, j = self._i[self._free], self._j[self._free]
        chosen: NDArray[np.int64] = i[_one_to_one(i, j)]
        return chosen

    def by_label(self) -> tuple[int, int]:
        """Return how many predictions share units with a gold entity, under its label, and under another only."""
        i, j, same = self._i[self._free_label], self._j[self._free_label], self._same_label[self._free_label]
        away = np.abs(self._gold.start[i] - self._predicted.start[j]) + np.abs(
            self._gold.stop[i] - self._predicted.stop[j]
        )
        order = np.lexsort((i, np.where(same, away, 0), ~same, j))
        chosen = order[_one_to_one(i[order], j[order])]
        right = int(same[chosen].sum())
        return self.equal + right, len(chosen) - right


def _one_to_one(i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pairs, by index, that remain when the j, in order, each take the first of their pairs with an i left.

    Pairs of a j stand in the order in which it prefers them.
    """
    if not len(i):
        return np.zeros(0, np.int64)
    alone = (np.bincount(i)[i] == 1) & (np.bincount(j)[j] == 1)
    chosen = np.flatnonzero(alone).tolist()
    order = np.flatnonzero(~alone)
    order = order[np.argsort(j[order], kind="stable")]
    taken_i: set[int] = set()
    taken_j: set[int] = set()
    for pair, a, b in zip(order.tolist(), i[order].tolist(), j[order].tolist(), strict=True):
        if a not in taken_i and b not in taken_j:
            taken_i.add(a)
            taken_j.add(b)
            chosen.append(pair)
    return np.array(sorted(chosen), np.int64)

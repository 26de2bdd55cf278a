"""How right the tags of single units are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["UnitScorer", "UnitScores", "score_units"]


@attrs.frozen(eq=False, kw_only=True)
class UnitScores:
    """The confusion of tags, unit by unit."""

    tag_names: tuple[str, ...]
    confusion: NDArray[np.int64]
    """[i, j]: units whose gold tag is i and whose predicted tag is j. Shape (K, K)."""

    @property
    def units(self) -> int:
        """How many units were counted: those whose gold tag is known."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Share of the units whose tag is right; 0 where none were counted."""
        return float(np.trace(self.confusion) / self.units) if self.units else 0.0

    def confusions(self, limit: int = 20) -> list[tuple[str, str, int]]:
        """Return the most frequent mistakes: gold tag, predicted tag, units."""
        wrong = [
            (self.tag_names[i], self.tag_names[j], int(self.confusion[i, j]))
            for i, j in np.argwhere(self.confusion)
            if i != j
        ]
        return sorted(wrong, key=lambda each: -each[2])[:limit]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain dicts, lists and numbers."""
        return {
            "accuracy": self.accuracy,
            "units": self.units,
            "tags": list(self.tag_names),
            "confusion": self.confusion.tolist(),
        }


class UnitScorer:
    """Counts the confusion of tags, context by context."""

    def __init__(self, tag_names: Sequence[str]) -> None:
        self._tag_names = tuple(tag_names)
        self._confusion = np.zeros((len(tag_names), len(tag_names)), np.int64)

    def add(self, gold: NDArray[Any], predicted: NDArray[Any]) -> None:
        """Count a context; units whose gold tag is -1 (unknown) are not counted. Shapes (n,).

        Raises ValueError where the two sides differ in length.
        """
        if gold.shape != predicted.shape:
            raise ValueError(f"expected predicted tags of shape {gold.shape}, got {predicted.shape}")
        known = gold >= 0
        np.add.at(self._confusion, (gold[known], predicted[known]), 1)

    def scores(self) -> UnitScores:
        """Return what has been counted."""
        return UnitScores(tag_names=self._tag_names, confusion=self._confusion)


def score_units(
    gold: Sequence[NDArray[Any]], predicted: Sequence[NDArray[Any]], tag_names: Sequence[str]
) -> UnitScores:
    """Return the confusion over contexts of any lengths; see `UnitScorer`.

    >>> score_units([np.array([0, 1, -1])], [np.array([0, 0, 1])], ("O", "B-x")).accuracy
    0.5
    """
    scorer = UnitScorer(tag_names)
    for gold_tags, predicted_tags in zip(gold, predicted, strict=True):
        scorer.add(gold_tags, predicted_tags)
    return scorer.scores()

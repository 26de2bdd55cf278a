"""How right the tags of single units are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["UnitScorer", "UnitScores", "score_units"]


_AT_ONCE = 1_000_000
"""Units that are counted together."""
_WIDTH = 1 << 31
_MOST_TAGS = 256
"""Beyond this number of tags the matrix of confusions is left out of JSON."""


@attrs.frozen(eq=False, kw_only=True)
class UnitScores:
    """The confusion of tags, unit by unit."""

    tag_names: tuple[str, ...]
    counts: Mapping[tuple[int, int], int]
    """(i, j) → units whose gold tag is i and whose predicted tag is j; pairs that did not occur are left out."""

    @property
    def confusion(self) -> NDArray[np.int64]:
        """[i, j]: units whose gold tag is i and whose predicted tag is j. Shape (K, K)."""
        table = np.zeros((len(self.tag_names), len(self.tag_names)), np.int64)
        for pair, count in self.counts.items():
            table[pair] = count
        return table

    @property
    def units(self) -> int:
        """How many units were counted: those whose gold tag is known."""
        return sum(self.counts.values())

    @property
    def accuracy(self) -> float:
        """Share of the units whose tag is right; 0 where none were counted."""
        return sum(n for (i, j), n in self.counts.items() if i == j) / self.units if self.units else 0.0

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa: how much more often both sides are alike than by chance; None where chance makes all alike.

        1 for all alike, 0 for as often as two that draw their tags by their own frequencies (Cohen 1960).
        """
        gold, predicted = Counter[int](), Counter[int]()
        for (i, j), n in self.counts.items():
            gold[i] += n
            predicted[j] += n
        chance = sum(n * predicted[i] for i, n in gold.items()) / self.units**2 if self.units else 1.0
        return None if chance == 1 else (self.accuracy - chance) / (1 - chance)

    def confusions(self, limit: int = 20) -> list[tuple[str, str, int]]:
        """Return the most frequent mistakes: gold tag, predicted tag, units."""
        wrong = sorted((-n, i, j) for (i, j), n in self.counts.items() if i != j)
        return [(self.tag_names[i], self.tag_names[j], -n) for n, i, j in wrong[:limit]]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain dicts, lists and numbers; no matrix of confusions where there are many tags."""
        return {
            "accuracy": self.accuracy,
            "kappa": self.kappa,
            "units": self.units,
            "tags": list(self.tag_names),
            "confusion": self.confusion.tolist() if len(self.tag_names) <= _MOST_TAGS else None,
            "confusions": [list(each) for each in self.confusions()],
        }


class UnitScorer:
    """Counts the confusion of tags, context by context."""

    def __init__(self, tag_names: Sequence[str] = ()) -> None:
        self._tag_names = tuple(tag_names)
        self._counts: Counter[tuple[int, int]] = Counter()
        self._waiting: list[NDArray[np.int64]] = []
        self._units = 0

    def add(self, gold: NDArray[Any], predicted: NDArray[Any]) -> None:
        """Count a context; units whose gold tag is -1 (unknown) are not counted. Shapes (n,).

        Raises ValueError where the two sides differ in length.
        """
        if gold.shape != predicted.shape:
            raise ValueError(f"expected predicted tags of shape {gold.shape}, got {predicted.shape}")
        known = gold >= 0
        self._waiting.append(gold[known].astype(np.int64) * _WIDTH + predicted[known])
        self._units += len(self._waiting[-1])
        if self._units > _AT_ONCE:
            self._count()

    def _count(self) -> None:
        pairs, counts = np.unique(np.concatenate([*self._waiting, np.zeros(0, np.int64)]), return_counts=True)
        gold, predicted = np.divmod(pairs, _WIDTH)
        pairs_of = zip(gold.tolist(), predicted.tolist(), strict=True)
        self._counts.update(dict(zip(pairs_of, counts.tolist(), strict=True)))
        self._waiting, self._units = [], 0

    def scores(self, tag_names: Sequence[str] | None = None) -> UnitScores:
        """Return what has been counted; ``tag_names`` are those of the tags where they were not known before."""
        self._count()
        return UnitScores(
            tag_names=self._tag_names if tag_names is None else tuple(tag_names), counts=dict(self._counts)
        )


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

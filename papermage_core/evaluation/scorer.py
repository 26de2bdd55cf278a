"""Counts scores document by document, holding arrays and no entities."""

from __future__ import annotations

import itertools
from array import array
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from papermage_core.evaluation.arrays import Numbers, Side, Sides, sharing
from papermage_core.evaluation.counting import lenient, subsets
from papermage_core.evaluation.documents import DocumentCounts, DocumentTable
from papermage_core.evaluation.partial import STRATEGIES, Credit, credit, credit_per_label
from papermage_core.evaluation.scores import NOTHING, SEEN, Counts, Scores, added
from papermage_core.plugin.spec import UnitSpan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Scorer", "score"]

_AT_ONCE = 400_000
"""Entities that are counted together."""
_FROM = (0, 1, 2, 4, 8, 16, 32)
"""Where groups of lengths, and of how often a text was seen in training, begin."""
_MOST_GROUPS = 200
_OTHERS = "(others)"


class Scorer:
    """Counts the scores of predicted entities, document by document; holds a row a document and label, not entities.

    ``labels`` come first in the result, seen or not; further ones follow by name.
    """

    def __init__(self, labels: Iterable[str] = ()) -> None:
        self._labels = tuple(labels)
        self._documents = 0
        self._sides = Sides()
        self._table = DocumentTable()
        self._unreachable: Counter[str] = Counter()
        self._outside: Counter[str] = Counter()
        self._elsewhere: Counter[str] = Counter()
        """Those of no document in particular."""
        self._lost: list[tuple[int, ...]] = []
        self._lenient = dict.fromkeys(("overlap", "boundaries", "units"), NOTHING)
        self._subsets = dict.fromkeys(("overlapping", "overlapping_own_label", "nested", "discontinuous"), NOTHING)
        self._credit = dict.fromkeys(STRATEGIES, Credit())
        self._credit_per_label: list[dict[str, Credit]] = []
        self._kinds: dict[str, dict[int, Counts]] = {"length": {}, SEEN: {}}
        self._groups: dict[str, tuple[Numbers, array[int]]] = {}
        self._knows_seen = False

    def add(
        self,
        gold: Iterable[UnitSpan],
        predicted: Iterable[UnitSpan],
        unreachable: Iterable[str] = (),
        *,
        outside: Iterable[str] = (),
        groups: Mapping[str, str] | None = None,
        seen: Callable[[UnitSpan], int] | None = None,
    ) -> None:
        """Count a document, entities in units of the document; one that is given twice counts once.

        ``unreachable`` are the labels of gold entities that are not in ``gold`` since no prediction could equal them
        (they touch no unit, say): they lower the recall. ``outside`` are those of predicted entities that touch no
        unit: they lower the precision. ``groups`` are what a document is counted by, as ``{"journal": "BMC"}``;
        ``seen`` says how often the text of an entity is one in the training data.
        """
        gold, predicted = list(gold), list(predicted)
        kinds = None if seen is None else ([_group_of(seen(s)) for s in gold], [_group_of(seen(s)) for s in predicted])
        self._knows_seen |= seen is not None
        self._sides.add(self._documents, gold, predicted, kinds)
        for label in unreachable:
            self._unreachable[label] += 1
            self._lost.append((self._documents, self._sides.labels[label], 1, 0, 0))
        for label in outside:
            self._outside[label] += 1
            self._lost.append((self._documents, self._sides.labels[label], 0, 1, 0))
        for name, value in (groups or {}).items():
            nowhere = array("q", [0]) * self._documents
            numbers, of_documents = self._groups.setdefault(name, (Numbers({_OTHERS: 0}), nowhere))
            known = value in numbers or len(numbers) <= _MOST_GROUPS
            of_documents.append(numbers[value] if known else 0)
        self._documents += 1
        if len(self._sides) > _AT_ONCE:
            self._count()

    def add_arrays(self, sides: Sides, gold: Side, predicted: Side, documents: int) -> None:
        """Count documents whose entities are arrays already."""
        self._sides, self._documents = sides, self._documents + documents
        self._count_sides(gold, predicted)

    def add_unreachable(self, counts: Mapping[str, int]) -> None:
        """Count gold entities, by label, that no prediction could equal, whatever document they are in."""
        self._unreachable.update(counts)
        self._elsewhere.update(counts)

    def _count(self) -> None:
        if self._lost:
            self._table.add(np.array(self._lost, np.int64))
            self._lost = []
        if len(self._sides):
            self._count_sides(*self._sides.take())

    def _count_sides(self, gold: Side, predicted: Side) -> None:
        n_labels = len(self._sides.labels)
        gold_right = np.isin(gold.key, predicted.key, assume_unique=True)
        predicted_right = np.isin(predicted.key, gold.key, assume_unique=True)
        pairs = sharing(gold, predicted)
        self._count_documents(gold, predicted, gold_right, n_labels)
        for name, counts in lenient(gold, predicted, pairs, n_labels).items():
            self._lenient[name] += counts
        for name, counts in subsets(gold, predicted, gold_right, predicted_right).items():
            self._subsets[name] += counts
        for name, found in credit(gold, predicted, pairs).items():
            self._credit[name] += found
        credits = credit_per_label(gold, predicted, pairs, n_labels)
        self._credit_per_label = [
            added(before or {}, now or {}, Credit())
            for before, now in itertools.zip_longest(self._credit_per_label, credits)
        ]
        lengths = [np.searchsorted(_FROM, side.sizes, "right") - 1 for side in (gold, predicted)]
        self._count_kinds("length", lengths[0], lengths[1], gold_right, predicted_right)
        if self._knows_seen:
            self._count_kinds(SEEN, gold.kind, predicted.kind, gold_right, predicted_right)

    def _count_documents(self, gold: Side, predicted: Side, right: NDArray[np.bool_], n_labels: int) -> None:
        keys = [side.document * n_labels + side.label for side in (gold, predicted)]
        rows, at = np.unique(np.concatenate([*keys, keys[0][right]]), return_inverse=True)
        parts = np.split(at.reshape(-1), np.cumsum([len(gold), len(predicted)]))
        counts = np.stack([np.bincount(part, minlength=len(rows)) for part in parts], 1)
        document, label = np.divmod(rows, max(1, n_labels))
        self._table.add(np.column_stack([document, label, counts]))

    def _count_kinds(
        self,
        name: str,
        of_gold: NDArray[np.int64],
        of_predicted: NDArray[np.int64],
        gold_right: NDArray[np.bool_],
        predicted_right: NDArray[np.bool_],
    ) -> None:
        size = len(_FROM)
        table = [np.bincount(kind, minlength=size) for kind in (of_gold, of_gold[gold_right])]
        table += [np.bincount(kind, minlength=size) for kind in (of_predicted, of_predicted[predicted_right])]
        for kind, (g, f, p, r) in enumerate(np.stack(table, 1).tolist()):
            if g or p:
                before = self._kinds[name].get(kind, NOTHING)
                self._kinds[name][kind] = before + Counts(gold=g, found=f, predicted=p, right=r)

    def document_counts(self) -> DocumentCounts:
        """Return the counts of each document, in the order in which they were added."""
        self._count()
        return self._table.counts(self._sides.labels, self._documents)

    def scores(self, *, intervals: bool = False) -> Scores:
        """Return the scores of what has been counted."""
        table = self.document_counts()
        names = dict.fromkeys([*self._labels, *sorted({*table.labels, *+self._unreachable})])
        totals = np.zeros((len(table.labels), 3), np.int64)
        np.add.at(totals, table.label, table.counts)
        found = dict(zip(table.labels, totals.tolist(), strict=True))
        per_label = {}
        for label in names:
            gold, predicted, right = found.get(label, (0, 0, 0))
            gold += self._elsewhere[label]
            per_label[label] = Counts(gold=gold, found=right, predicted=predicted, right=right)
        n_lost, n_outside = self._unreachable.total(), self._outside.total()
        wrong = Counts(gold=n_lost, found=0, predicted=n_outside, right=0)
        credits = dict(zip(table.labels, self._credit_per_label, strict=False))
        return Scores(
            micro=sum(per_label.values(), NOTHING),
            per_label=per_label,
            lenient={name: counts + wrong for name, counts in self._lenient.items()},
            subsets={name: counts for name, counts in self._subsets.items() if counts.gold or counts.predicted},
            gold_unreachable=dict(+self._unreachable),
            predicted_outside=dict(self._outside),
            documents=self._documents,
            partial_credit={
                name: found + Credit(missed=n_lost, spurious=n_outside) for name, found in self._credit.items()
            },
            partial_credit_per_label={
                label: added(
                    credits.get(label, {}),
                    dict.fromkeys(STRATEGIES, Credit(missed=self._unreachable[label], spurious=self._outside[label])),
                    Credit(),
                )
                for label in names
                if per_label[label].gold or per_label[label].predicted
            },
            groups=self._group_counts(table),
            intervals=table.intervals() if intervals else {},
        )

    def _group_counts(self, table: DocumentCounts) -> dict[str, dict[str, Counts]]:
        found = {
            name: {_group_name(kind): counts for kind, counts in sorted(kinds.items())}
            for name, kinds in self._kinds.items()
            if kinds
        }
        totals = table.per_document()
        for name, (numbers, of_documents) in self._groups.items():
            rows = np.zeros((len(numbers), 3), np.int64)
            np.add.at(rows, np.array(of_documents, np.int64), totals[: len(of_documents)])
            found[name] = {
                group: Counts(gold=gold, found=right, predicted=predicted, right=right)
                for group, (gold, predicted, right) in sorted(zip(numbers, rows.tolist(), strict=True))
                if gold or predicted
            }
        return found


def score(
    gold: Sequence[Iterable[UnitSpan]],
    predicted: Sequence[Iterable[UnitSpan]],
    *,
    labels: Iterable[str] = (),
    gold_unreachable: Mapping[str, int] | None = None,
) -> Scores:
    """Return the scores of predicted entities, document by document; see `Scorer`.

    Raises ValueError for lists of different lengths.

    >>> right, cut, whole = UnitSpan.of("a", 0, 2), UnitSpan.of("b", 3, 5), UnitSpan.of("b", 2, 5)
    >>> score([[right, whole]], [[right, cut]]).f1
    0.5
    """
    if len(gold) != len(predicted):
        raise ValueError(f"expected predictions for {len(gold)} documents, got {len(predicted)}")
    scorer = Scorer(labels)
    for gold_spans, predicted_spans in zip(gold, predicted, strict=True):
        scorer.add(gold_spans, predicted_spans)
    scorer.add_unreachable(gold_unreachable or {})
    return scorer.scores()


def _group_of(count: int) -> int:
    return bisect(_FROM, count) - 1


def _group_name(number: int) -> str:
    """Return what a group of numbers is called.

    >>> [_group_name(number) for number in (0, 1, 2, 6)]
    ['0', '1', '2-3', '32 or more']
    """
    first = _FROM[number]
    if number + 1 == len(_FROM):
        return f"{first} or more"
    last = _FROM[number + 1] - 1
    return str(first) if first == last else f"{first}-{last}"

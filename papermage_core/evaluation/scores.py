"""How right the predicted entities are: strict scores, and what softens or splits them."""

from __future__ import annotations

import itertools
from array import array
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from papermage_core.document.queries import ranges
from papermage_core.evaluation.arrays import Numbers, Side, Sides, sharing
from papermage_core.evaluation.documents import DocumentCounts, DocumentTable, Interval
from papermage_core.evaluation.partial import STRATEGIES, Credit, credit, credit_per_label
from papermage_core.plugin.spec import UnitSpan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Counts", "Scorer", "Scores", "score", "score_tags"]

_AT_ONCE = 400_000
"""Entities that are counted together."""
_DENSE = 1 << 26
"""Units times labels up to which a table of them all is faster than a sort."""
_FROM = (0, 1, 2, 4, 8, 16, 32)
"""Where groups of lengths, and of how often a text was seen in training, begin."""
_MOST_GROUPS = 200
_SEEN = "in training"
_TITLES = {"length": "length in units", _SEEN: "how often the text is in the training data"}
_OTHERS = "(others)"


@attrs.frozen(kw_only=True)
class Counts:
    """Counts behind a precision and a recall.

    ``found`` (of the gold) and ``right`` (of the predicted) differ only where a match is not one to one, as under
    lenient matching.

    >>> Counts(gold=4, found=3, predicted=6, right=3).f1
    0.6
    """

    gold: int
    found: int
    predicted: int
    right: int

    @classmethod
    def of_sets(cls, gold: set[Any], predicted: set[Any]) -> Counts:
        """Return the counts for two sets whose members match when they are equal."""
        right = len(gold & predicted)
        return cls(gold=len(gold), found=right, predicted=len(predicted), right=right)

    @property
    def precision(self) -> float:
        """Share of the predicted that is right; 0 where nothing was predicted."""
        return self.right / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Share of the gold that was found; 0 where there is no gold."""
        return self.found / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 where both are."""
        if self.found == self.right and self.gold + self.predicted:
            return 2 * self.right / (self.gold + self.predicted)
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            gold=self.gold + other.gold,
            found=self.found + other.found,
            predicted=self.predicted + other.predicted,
            right=self.right + other.right,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the figures with the counts behind them."""
        return {
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "support": self.gold,
            "predicted": self.predicted,
            "right": self.right,
            "found": self.found,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Counts:
        """Return the counts that ``to_json`` wrote."""
        return cls(gold=value["support"], found=value["found"], predicted=value["predicted"], right=value["right"])


NOTHING = Counts(gold=0, found=0, predicted=0, right=0)


@attrs.frozen(kw_only=True)
class Scores:
    """Scores of predicted entities against gold ones.

    `micro` and `per_label` are strict: an entity is right if its label, both ends and all its segments are.
    """

    micro: Counts
    per_label: Mapping[str, Counts]
    lenient: Mapping[str, Counts] = attrs.field(factory=dict)
    """``overlap``: same label and a unit in common; ``boundaries``: the right units under any label; ``units``: each
    unit of each entity counted alone, with its label."""
    subsets: Mapping[str, Counts] = attrs.field(factory=dict)
    """Strict scores of the entities that are ``overlapping`` (share a unit with another), ``overlapping_own_label``,
    ``nested`` (lie in another, or hold one) or ``discontinuous``. Recall is over the gold entities of the kind,
    precision over the predicted ones; a kind that neither side has is left out."""
    gold_unreachable: Mapping[str, int] = attrs.field(factory=dict)
    """Label → gold entities that no prediction could have equalled; they are counted in as missed."""
    documents: int = 0
    partial_credit: Mapping[str, Credit] = attrs.field(factory=dict)
    """MUC and SemEval's counts, by the names of nervaluate: ``strict``, ``exact``, ``partial``, ``ent_type``."""
    partial_credit_per_label: Mapping[str, Mapping[str, Credit]] = attrs.field(factory=dict)
    groups: Mapping[str, Mapping[str, Counts]] = attrs.field(factory=dict)
    """Strict scores by ``length`` in units, by how often a text stands ``in training``, and by keys of documents'
    metadata. Recall is over the gold entities of a group, precision over the predicted ones."""
    intervals: Mapping[str, Mapping[str, Interval]] = attrs.field(factory=dict)
    """``micro``, ``macro`` or ``label:…`` → figure → where it lies in 95 of 100 samples of documents. Not in sums."""

    @property
    def precision(self) -> float:
        """Micro-averaged strict precision."""
        return self.micro.precision

    @property
    def recall(self) -> float:
        """Micro-averaged strict recall."""
        return self.micro.recall

    @property
    def f1(self) -> float:
        """Micro-averaged strict F1: the figure that models are chosen by."""
        return self.micro.f1

    @property
    def macro(self) -> dict[str, float]:
        """Plain means over the labels that are in the gold or were predicted."""
        seen = [c for c in self.per_label.values() if c.gold or c.predicted]
        return {name: sum(getattr(c, name) for c in seen) / len(seen) if seen else 0.0 for name in _FIGURES}

    @property
    def weighted(self) -> dict[str, float]:
        """Means over the labels, each weighted by its gold entities."""
        total = sum(c.gold for c in self.per_label.values())
        return {
            name: sum(c.gold * getattr(c, name) for c in self.per_label.values()) / total if total else 0.0
            for name in _FIGURES
        }

    def __add__(self, other: Scores) -> Scores:
        """Return the scores of the documents of both."""

        def joined(name: str) -> dict[str, Counts]:
            return _added(getattr(self, name), getattr(other, name), NOTHING)

        mine, theirs = self.partial_credit_per_label, other.partial_credit_per_label
        return Scores(
            micro=self.micro + other.micro,
            per_label=joined("per_label"),
            lenient=joined("lenient"),
            subsets=joined("subsets"),
            gold_unreachable=dict(Counter(self.gold_unreachable) + Counter(other.gold_unreachable)),
            documents=self.documents + other.documents,
            partial_credit=_added(self.partial_credit, other.partial_credit, Credit()),
            partial_credit_per_label={
                label: _added(mine.get(label, {}), theirs.get(label, {}), Credit())
                for label in dict.fromkeys([*mine, *theirs])
            },
            groups={
                name: _added(self.groups.get(name, {}), other.groups.get(name, {}), NOTHING)
                for name in dict.fromkeys([*self.groups, *other.groups])
            },
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain dicts, lists and numbers."""
        return {
            "micro": self.micro.to_json(),
            "macro": self.macro,
            "weighted": self.weighted,
            "per_label": {label: counts.to_json() for label, counts in self.per_label.items()},
            "lenient": {name: counts.to_json() for name, counts in self.lenient.items()},
            "subsets": {name: counts.to_json() for name, counts in self.subsets.items()},
            "gold_unreachable": dict(self.gold_unreachable),
            "documents": self.documents,
            "partial_credit": {name: found.to_json() for name, found in self.partial_credit.items()},
            "partial_credit_per_label": {
                label: {name: found.to_json() for name, found in credits.items()}
                for label, credits in self.partial_credit_per_label.items()
            },
            "groups": {
                name: {group: counts.to_json() for group, counts in groups.items()}
                for name, groups in self.groups.items()
            },
            "intervals": {
                name: {figure: list(ends) for figure, ends in figures.items()}
                for name, figures in self.intervals.items()
            },
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Scores:
        """Return the scores that ``to_json`` wrote."""

        def counts(name: str) -> dict[str, Counts]:
            return {key: Counts.from_json(each) for key, each in value[name].items()}

        return cls(
            micro=Counts.from_json(value["micro"]),
            per_label=counts("per_label"),
            lenient=counts("lenient"),
            subsets=counts("subsets"),
            gold_unreachable=dict(value["gold_unreachable"]),
            documents=value["documents"],
            partial_credit={name: Credit.from_json(v) for name, v in value.get("partial_credit", {}).items()},
            partial_credit_per_label={
                label: {name: Credit.from_json(v) for name, v in credits.items()}
                for label, credits in value.get("partial_credit_per_label", {}).items()
            },
            groups={
                name: {group: Counts.from_json(v) for group, v in groups.items()}
                for name, groups in value.get("groups", {}).items()
            },
            intervals={
                name: {figure: (ends[0], ends[1]) for figure, ends in figures.items()}
                for name, figures in value.get("intervals", {}).items()
            },
        )

    def table(self, *, whole: bool = True) -> str:
        """Return a table for the terminal, in percent: a line for each label, then the averages and the rest.

        One that is not ``whole`` fits a screen: it lacks partial credit and the groups.
        """
        head = f"{'':{self._width}}  {'P':>6} {'R':>6} {'F1':>6} {'gold':>7} {'pred':>7}"
        lines = [head, *(self._line(label, counts) for label, counts in self.per_label.items())]
        lines += ["-" * len(head), self._line("all (micro)", self.micro)]
        if len(self.per_label) > 1:
            for name, means in (("macro", self.macro), ("weighted", self.weighted)):
                averages = " ".join(f"{100 * means[figure]:6.1f}" for figure in _FIGURES)
                lines.append(f"{f'all ({name})':{self._width}}  {averages}")
        lines += [self._line(name.replace("_", " "), counts) for name, counts in self.subsets.items()]
        lines += [self._line(f"lenient: {name}", counts) for name, counts in self.lenient.items()]
        for name, found in self.partial_credit.items() if whole else ():
            figures = " ".join(f"{100 * getattr(found, figure):6.1f}" for figure in _FIGURES)
            lines.append(f"{f'partial credit: {name}':{self._width}}  {figures} {found.possible:7} {found.actual:7}")
        for name, groups in self.groups.items():
            if whole and len(groups) > 1:
                lines += [
                    "",
                    f"by {_TITLES.get(name, name)}",
                    *(self._line(f"  {group}", counts) for group, counts in groups.items()),
                ]
        if "micro" in self.intervals:
            low, high = self.intervals["micro"]["f1"]
            lines += ["", f"F1 {100 * self.f1:.1f}, with 95 % confidence {100 * low:.1f} to {100 * high:.1f}"]
        if lost := sum(self.gold_unreachable.values()):
            lines.append(f"{lost} gold entities could not have been predicted; they count as missed")
        return "\n".join(lines)

    @property
    def _width(self) -> int:
        names = [*self.per_label, *self.subsets, "all (weighted)", *(f"lenient: {name}" for name in self.lenient)]
        names += [f"partial credit: {name}" for name in self.partial_credit]
        names += [f"  {group}" for groups in self.groups.values() for group in groups]
        return max(map(len, names))

    def _line(self, name: str, counts: Counts) -> str:
        figures = " ".join(f"{100 * value:6.1f}" for value in (counts.precision, counts.recall, counts.f1))
        return f"{name:{self._width}}  {figures} {counts.gold:7} {counts.predicted:7}"


_FIGURES = ("precision", "recall", "f1")


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
        self._elsewhere: Counter[str] = Counter()
        """Those of no document in particular."""
        self._lost: list[tuple[int, ...]] = []
        self._lenient = dict.fromkeys(("overlap", "boundaries", "units"), NOTHING)
        self._subsets = dict.fromkeys(("overlapping", "overlapping_own_label", "nested", "discontinuous"), NOTHING)
        self._credit = dict.fromkeys(STRATEGIES, Credit())
        self._credit_per_label: list[dict[str, Credit]] = []
        self._kinds: dict[str, dict[int, Counts]] = {"length": {}, _SEEN: {}}
        self._groups: dict[str, tuple[Numbers, array[int]]] = {}
        self._knows_seen = False

    def add(
        self,
        gold: Iterable[UnitSpan],
        predicted: Iterable[UnitSpan],
        unreachable: Iterable[str] = (),
        *,
        groups: Mapping[str, str] | None = None,
        seen: Callable[[UnitSpan], int] | None = None,
    ) -> None:
        """Count a document, entities in units of the document; one that is given twice counts once.

        ``unreachable`` are the labels of gold entities that are not in ``gold`` since no prediction could equal them
        (they touch no unit, say): they lower the recall. ``groups`` are what a document is counted by, as
        ``{"journal": "BMC"}``; ``seen`` says how often the text of an entity is one in the training data.
        """
        gold, predicted = list(gold), list(predicted)
        kinds = None if seen is None else ([_group_of(seen(s)) for s in gold], [_group_of(seen(s)) for s in predicted])
        self._knows_seen |= seen is not None
        self._sides.add(self._documents, gold, predicted, kinds)
        for label in unreachable:
            self._unreachable[label] += 1
            self._lost.append((self._documents, self._sides.labels[label], 1, 0, 0))
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
        for name, counts in _lenient(gold, predicted, pairs, n_labels).items():
            self._lenient[name] += counts
        for name, counts in _subsets(gold, predicted, gold_right, predicted_right).items():
            self._subsets[name] += counts
        for name, found in credit(gold, predicted, pairs).items():
            self._credit[name] += found
        credits = credit_per_label(gold, predicted, pairs, n_labels)
        self._credit_per_label = [
            _added(before or {}, now or {}, Credit())
            for before, now in itertools.zip_longest(self._credit_per_label, credits)
        ]
        lengths = [np.searchsorted(_FROM, side.sizes, "right") - 1 for side in (gold, predicted)]
        self._count_kinds("length", lengths[0], lengths[1], gold_right, predicted_right)
        if self._knows_seen:
            self._count_kinds(_SEEN, gold.kind, predicted.kind, gold_right, predicted_right)

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
        n_lost = self._unreachable.total()
        missed = Counts(gold=n_lost, found=0, predicted=0, right=0)
        credits = dict(zip(table.labels, self._credit_per_label, strict=False))
        return Scores(
            micro=sum(per_label.values(), NOTHING),
            per_label=per_label,
            lenient={name: counts + missed for name, counts in self._lenient.items()},
            subsets={name: counts for name, counts in self._subsets.items() if counts.gold or counts.predicted},
            gold_unreachable=dict(+self._unreachable),
            documents=self._documents,
            partial_credit={name: found + Credit(missed=n_lost) for name, found in self._credit.items()},
            partial_credit_per_label={
                label: _added(
                    credits.get(label, {}), dict.fromkeys(STRATEGIES, Credit(missed=self._unreachable[label])), Credit()
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


def score_tags(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], *, labels: Iterable[str] = ()
) -> Scores:
    """Return the scores of entities in rows of tags such as ``B-author``, read as conlleval and seqeval do.

    A document for each row. Raises ValueError for rows of different lengths.

    >>> score_tags([["B-a", "I-a", "O", "I-b"]], [["B-a", "I-a", "O", "O"]]).recall
    0.5
    """
    if list(map(len, gold)) != list(map(len, predicted)):
        raise ValueError("expected as many predicted tags as gold ones in each row")
    sides = Sides()
    first = np.append(0, np.cumsum([len(row) for row in gold]))
    columns = [_read_tags(rows, first, sides.labels) for rows in (gold, predicted)]
    scorer = Scorer(labels)
    n = len(columns[0][0]) + len(columns[1][0])
    scorer.add_arrays(sides, *sides.sides(columns[0], columns[1], np.zeros(n, np.int64)), len(gold))
    return scorer.scores()


def _read_tags(rows: Sequence[Sequence[str]], first: NDArray[np.int64], labels: Numbers) -> list[NDArray[np.int64]]:
    """Return the columns of the entities in rows of tags, which begin at ``first``, units counted through all rows."""
    if not first[-1]:
        return [np.zeros(0, np.int64)] * 6
    numbers = Numbers()
    flat = np.fromiter(map(numbers.__getitem__, itertools.chain.from_iterable(rows)), np.int64, int(first[-1]))
    names = [(tag[:1].translate(_LETTERS), tag[2:] if tag[1:2] == "-" else tag[1:] or "_") for tag in numbers]
    letters = np.array([max(_PREFIXES.find(letter), 0) for letter, _ in names])
    kinds = Numbers()
    kind = np.array([kinds[name] if _PREFIXES.find(letter) > 0 else -1 for letter, name in names])
    letter, label = letters[flat], kind[flat]
    begins = np.zeros(len(flat), np.bool_)
    begins[first[:-1][first[:-1] < len(flat)]] = True
    before, label_before = np.append(0, letter[:-1])[: len(flat)], np.append(-1, label[:-1])[: len(flat)]
    before, label_before = np.where(begins, 0, before), np.where(begins, -1, label_before)
    outside, opens, closes = letter == 0, (letter == 1) | (letter == 4), (before >= 3) | (before == 0)
    starts = np.flatnonzero(~outside & (opens | closes | (label != label_before)))
    ends = (before > 0) & ((before >= 3) | outside | opens | (label != label_before))
    ends |= begins & np.append(False, letter[:-1] > 0)[: len(flat)]
    stops = np.flatnonzero(ends)
    if letter[-1] > 0:
        stops = np.append(stops, len(flat))
    of_kind = np.array([labels[name] for name in kinds] or [0], np.int64)
    nothing = np.zeros(len(starts), np.int64)
    return [np.searchsorted(first, starts, "right") - 1, of_kind[label[starts]], starts, stops, nothing, nothing]


_PREFIXES = "OBIES"
_LETTERS = str.maketrans("LU", "ES")


def _added(one: Mapping[str, Any], other: Mapping[str, Any], nothing: Any) -> dict[str, Any]:
    return {key: one.get(key, nothing) + other.get(key, nothing) for key in dict.fromkeys([*one, *other])}


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


def _lenient(gold: Side, predicted: Side, pairs: tuple[NDArray[np.int64], ...], n_labels: int) -> dict[str, Counts]:
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


def _subsets(
    gold: Side, predicted: Side, gold_right: NDArray[np.bool_], predicted_right: NDArray[np.bool_]
) -> dict[str, Counts]:
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

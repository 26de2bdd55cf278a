"""How right the predicted entities are: strict scores, and what softens or splits them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from papermage_core.evaluation.spans import pairs_sharing_units
from papermage_core.plugin.spec import UnitSpan

__all__ = ["Counts", "Scorer", "Scores", "score"]


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
        names = ("precision", "recall", "f1")
        return {name: sum(getattr(c, name) for c in seen) / len(seen) if seen else 0.0 for name in names}

    def __add__(self, other: Scores) -> Scores:
        """Return the scores of the documents of both."""

        def joined(name: str) -> dict[str, Counts]:
            mine, theirs = getattr(self, name), getattr(other, name)
            return {key: mine.get(key, NOTHING) + theirs.get(key, NOTHING) for key in dict.fromkeys([*mine, *theirs])}

        return Scores(
            micro=self.micro + other.micro,
            per_label=joined("per_label"),
            lenient=joined("lenient"),
            subsets=joined("subsets"),
            gold_unreachable=dict(Counter(self.gold_unreachable) + Counter(other.gold_unreachable)),
            documents=self.documents + other.documents,
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain dicts, lists and numbers."""
        return {
            "micro": self.micro.to_json(),
            "macro": self.macro,
            "per_label": {label: counts.to_json() for label, counts in self.per_label.items()},
            "lenient": {name: counts.to_json() for name, counts in self.lenient.items()},
            "subsets": {name: counts.to_json() for name, counts in self.subsets.items()},
            "gold_unreachable": dict(self.gold_unreachable),
            "documents": self.documents,
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
        )

    def table(self) -> str:
        """Return a table for the terminal, in percent: a line for each label, then the averages and the rest."""
        head = f"{'':{self._width}}  {'P':>6} {'R':>6} {'F1':>6} {'gold':>7} {'pred':>7}"
        lines = [head, *(self._line(label, counts) for label, counts in self.per_label.items())]
        lines += ["-" * len(head), self._line("all (micro)", self.micro)]
        if len(self.per_label) > 1:
            averages = " ".join(f"{100 * self.macro[name]:6.1f}" for name in ("precision", "recall", "f1"))
            lines.append(f"{'all (macro)':{self._width}}  {averages}")
        lines += [self._line(name.replace("_", " "), counts) for name, counts in self.subsets.items()]
        lines += [self._line(f"lenient: {name}", counts) for name, counts in self.lenient.items()]
        if lost := sum(self.gold_unreachable.values()):
            lines.append(f"{lost} gold entities could not have been predicted; they count as missed")
        return "\n".join(lines)

    @property
    def _width(self) -> int:
        names = [*self.per_label, *self.subsets, "all (micro)", *(f"lenient: {name}" for name in self.lenient)]
        return max(map(len, names))

    def _line(self, name: str, counts: Counts) -> str:
        figures = " ".join(f"{100 * value:6.1f}" for value in (counts.precision, counts.recall, counts.f1))
        return f"{name:{self._width}}  {figures} {counts.gold:7} {counts.predicted:7}"


class Scorer:
    """Counts the scores of predicted entities, document by document, and holds none of them.

    ``labels`` come first in the result, seen or not; further ones follow by name.
    """

    def __init__(self, labels: Iterable[str] = ()) -> None:
        self._labels = tuple(labels)
        self._documents = 0
        self._gold: Counter[str] = Counter()
        self._predicted: Counter[str] = Counter()
        self._right: Counter[str] = Counter()
        self._unreachable: Counter[str] = Counter()
        self._lenient = dict.fromkeys(("overlap", "boundaries", "units"), NOTHING)
        self._subsets = dict.fromkeys(("overlapping", "overlapping_own_label", "nested", "discontinuous"), NOTHING)

    def add(self, gold: Iterable[UnitSpan], predicted: Iterable[UnitSpan], unreachable: Iterable[str] = ()) -> None:
        """Count a document, entities in units of the document; one that is given twice counts once.

        ``unreachable`` are the labels of gold entities that are not in ``gold`` since no prediction could equal them
        (they touch no unit, say): they lower the recall.
        """
        gold_spans, predicted_spans = set(gold), set(predicted)
        self._documents += 1
        self._gold.update(span.label for span in gold_spans)
        self._predicted.update(span.label for span in predicted_spans)
        self._right.update(span.label for span in gold_spans & predicted_spans)
        self._unreachable.update(unreachable)
        for name, counts in _lenient(gold_spans, predicted_spans).items():
            self._lenient[name] += counts
        for name, counts in _subsets(gold_spans, predicted_spans).items():
            self._subsets[name] += counts

    def add_unreachable(self, counts: Mapping[str, int]) -> None:
        """Count gold entities, by label, that no prediction could equal, whatever document they are in."""
        self._unreachable.update(counts)

    def scores(self) -> Scores:
        """Return the scores of what has been counted."""
        gold = self._gold + self._unreachable
        names = dict.fromkeys([*self._labels, *sorted(gold.keys() | self._predicted.keys())])
        per_label = {
            label: Counts(
                gold=gold[label], found=self._right[label], predicted=self._predicted[label], right=self._right[label]
            )
            for label in names
        }
        missed = Counts(gold=self._unreachable.total(), found=0, predicted=0, right=0)
        return Scores(
            micro=sum(per_label.values(), NOTHING),
            per_label=per_label,
            lenient={name: counts + missed for name, counts in self._lenient.items()},
            subsets={name: counts for name, counts in self._subsets.items() if counts.gold or counts.predicted},
            gold_unreachable=dict(+self._unreachable),
            documents=self._documents,
        )


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


def _lenient(gold: set[UnitSpan], predicted: set[UnitSpan]) -> dict[str, Counts]:
    overlaps = [(g, p) for g, p in pairs_sharing_units(gold, predicted) if g.label == p.label]
    return {
        "overlap": Counts(
            gold=len(gold),
            found=len({g for g, _ in overlaps}),
            predicted=len(predicted),
            right=len({p for _, p in overlaps}),
        ),
        "boundaries": _boundaries(gold, predicted),
        "units": Counts.of_sets(_labelled_units(gold), _labelled_units(predicted)),
    }


def _boundaries(gold: set[UnitSpan], predicted: set[UnitSpan]) -> Counts:
    places_of_gold, places_of_predicted = ({span.segments for span in spans} for spans in (gold, predicted))
    return Counts(
        gold=len(gold),
        found=sum(span.segments in places_of_predicted for span in gold),
        predicted=len(predicted),
        right=sum(span.segments in places_of_gold for span in predicted),
    )


def _labelled_units(spans: set[UnitSpan]) -> set[tuple[int, str]]:
    return {(unit, span.label) for span in spans for unit in span.units}


def _subsets(gold: set[UnitSpan], predicted: set[UnitSpan]) -> dict[str, Counts]:
    gold_kinds, predicted_kinds = _kinds(gold), _kinds(predicted)
    return {
        name: Counts(
            gold=len(members),
            found=len(members & predicted),
            predicted=len(predicted_kinds[name]),
            right=len(predicted_kinds[name] & gold),
        )
        for name, members in gold_kinds.items()
    }


def _kinds(spans: set[UnitSpan]) -> dict[str, set[UnitSpan]]:
    kinds: dict[str, set[UnitSpan]] = {"overlapping": set(), "overlapping_own_label": set(), "nested": set()}
    for one, other in pairs_sharing_units(spans, spans):
        if one == other:
            continue
        kinds["overlapping"] |= {one, other}
        if one.label == other.label:
            kinds["overlapping_own_label"] |= {one, other}
        if set(one.units) <= set(other.units):
            kinds["nested"] |= {one, other}
    return kinds | {"discontinuous": {span for span in spans if span.is_discontinuous}}

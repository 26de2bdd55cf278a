"""Which gold is wrong: entities that a model which did not see them is sure are missing, made up, cut or mislabelled.

A model disagrees with gold where the gold is wrong, and where it errs itself. What tells the two apart is learned from
errors that are made up: each gold entity is, on paper, left out, moved, cut or given another label, and what the model
and the other documents say of it then is held against what they say of the true disagreements. So every one gets the
odds that it is an error of the gold, whatever its kind, and they are ranked by that. Like confident learning
(Northcutt, Jiang and Chuang, "Confident Learning", JAIR 2021) this needs probabilities of models that did not see the
gold.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import attrs
import numpy as np

from papermage_core.data.spans import SpanTable
from papermage_core.evaluation.arrays import Numbers
from papermage_core.evaluation.mistakes import ErrorRecord, UnitText, record_of
from papermage_core.plugin.spec import UnitSpan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from papermage_core.data.units import ParsedDocument

__all__ = ["LEAST", "SUSPICIONS", "Auditor", "Suspect"]

Suspicion = Literal["missing", "spurious", "boundary", "label"]
SUSPICIONS: tuple[Suspicion, ...] = get_args(Suspicion)
"""What may be wrong with the gold: an entity is missing, or none, or has another boundary or label."""
LEAST = 0.02
"""Probability of an entity from which on it is looked at; one that was not found has half of it."""
_MISSING = 0.1
_LONGEST = 8
"""Units of a text that is looked for in all documents."""
_PRIOR = 0.02
"""Share of the gold that is taken to be wrong, before anything is known."""
_ROUNDS = 3
_RIDGE = 1.0
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
Row = list[float]


@attrs.frozen(kw_only=True)
class Suspect:
    """Gold that may be wrong, and what the model finds in its place."""

    kind: Suspicion
    document: int
    """Its number, in the order in which documents were added."""
    gold: UnitSpan | None
    suggestion: UnitSpan | None
    odds: float
    """Logarithm of the odds that the gold is wrong; what suspects are ranked by."""

    @property
    def probability(self) -> float:
        """How likely the gold is wrong, if a fiftieth of all gold is."""
        return float(1 / (1 + np.exp(-self.odds)))

    def record(self, text: UnitText) -> ErrorRecord:
        """Return it as a mistake, with the gold and the suggestion side by side."""
        record = record_of(self.gold, self.suggestion, text)
        return attrs.evolve(record, score=self.probability, note=_NOTES[self.kind])


_NOTES = {
    "missing": "the gold may lack this entity",
    "spurious": "this may be no entity",
    "boundary": "the gold may begin or end wrongly",
    "label": "the gold may have the wrong label",
}


@attrs.define(eq=False)
class _Documents:
    """What is kept of all documents: numbers of a unit each, and entities by document."""

    has_letters: array[int] = attrs.field(factory=lambda: array("b"))
    """Of each word."""
    units: array[int] = attrs.field(factory=lambda: array("i"))
    """The word of each unit, documents one after the other."""
    outside: array[float] = attrs.field(factory=lambda: array("f"))
    """How likely each unit is in no entity."""
    first: array[int] = attrs.field(factory=lambda: array("q", [0]))
    """The first unit of each document, and last their number."""
    gold: SpanTable = attrs.field(factory=SpanTable)
    likely: SpanTable = attrs.field(factory=SpanTable)

    def __len__(self) -> int:
        return len(self.first) - 1


class Auditor:
    """Takes documents with their gold and what a model that did not see them finds likely.

    Holds some 40 bytes a unit.
    """

    def __init__(self, seed: int = 470) -> None:
        self._seed = seed
        self._words, self._documents = Numbers(), _Documents()

    def __len__(self) -> int:
        return len(self._documents)

    @property
    def gold_count(self) -> int:
        """How many gold entities there are."""
        return sum(map(len, (self._documents.gold[i] for i in range(len(self)))))

    def add(self, parsed: ParsedDocument, likely: Sequence[UnitSpan], outside: NDArray[Any]) -> None:
        """Take in a document: all entities that have at least the probability `LEAST`, and ``outside``.

        That is how likely each unit is in no entity, shape (units,).
        """
        words = [""] * parsed.n_units
        for context, units in zip(parsed.contexts, parsed.units, strict=True):
            for word, unit in zip(context.words, units.tolist(), strict=True):
                words[unit] = word.lower()
        before = len(self._words)
        self._documents.units.extend([self._words[word] for word in words])
        if len(self._words) > before:
            new = list(self._words)[before:]
            self._documents.has_letters.extend([any(map(str.isalpha, word)) for word in new])
        self._documents.outside.extend(outside.tolist())
        self._documents.first.append(len(self._documents.units))
        gold = {g.as_span(): None for of_task in parsed.gold for g in of_task or ()}
        self._documents.gold.append(gold)
        self._documents.likely.append(likely)

    def suspects(self) -> list[Suspect]:
        """Return all gold that a model disagrees with, the most suspect first."""
        texts = _Texts(self._documents)
        found: dict[Suspicion, list[tuple[Row, int, UnitSpan | None, UnitSpan | None]]] = {k: [] for k in SUSPICIONS}
        made_up: dict[Suspicion, list[Row]] = {kind: [] for kind in SUSPICIONS}
        rng = np.random.default_rng(self._seed)
        n_gold = 0
        for number in range(len(self)):
            page = _Page(self._documents, texts, number, rng)
            n_gold += len(page.gold)
            for kind, row, gold, suggestion in page.disagreements():
                found[kind].append((row, number, gold, suggestion))
            for kind, row in page.made_up():
                made_up[kind].append(row)
        kinds = [kind for kind in SUSPICIONS if found[kind] and made_up[kind]]
        ranked = []
        for kind in kinds:
            rows = np.array([each[0] for each in found[kind]])
            share = min(0.5, _PRIOR * n_gold / len(kinds) / len(rows))
            odds = _odds(rows, np.array(made_up[kind]), share)
            for (_, number, gold, suggestion), value in zip(found[kind], odds.tolist(), strict=True):
                ranked.append(Suspect(kind=kind, document=number, gold=gold, suggestion=suggestion, odds=value))
        return sorted(ranked, key=lambda each: -each.odds)


class _Page:
    """One document, looked at."""

    def __init__(self, documents: _Documents, texts: _Texts, number: int, rng: np.random.Generator) -> None:
        first, stop = documents.first[number : number + 2]
        self.gold, self._texts, self._rng = documents.gold[number], texts, rng
        self._first, self._n = first, stop - first
        self._outside = np.frombuffer(documents.outside, np.float32)[first:stop]
        self._units = np.frombuffer(documents.units, np.int32)[first:stop]
        self._letters = np.frombuffer(documents.has_letters, np.int8)[self._units].astype(np.bool_)
        self._sure = {span: span.score or 0.0 for span in documents.likely[number]}
        self._labels = list(documents.gold.names)
        self._owners: dict[int, list[UnitSpan]] = {}
        for span in self.gold:
            for unit in span.units:
                self._owners.setdefault(unit, []).append(span)
        self._rival = self._rivals()

    def _rivals(self) -> dict[UnitSpan, UnitSpan]:
        """Return, for gold entities, the likeliest other entity that shares units with it."""
        known = set(self.gold)
        rivals: dict[UnitSpan, UnitSpan] = {}
        for span in self._sure:
            if span not in known:
                for gold in self._touching(span):
                    if gold not in rivals or self._sure[span] > self._sure[rivals[gold]]:
                        rivals[gold] = span
        return rivals

    def _touching(self, span: UnitSpan) -> dict[UnitSpan, None]:
        return dict.fromkeys(gold for unit in span.units for gold in self._owners.get(unit, ()))

    def disagreements(self) -> Iterator[tuple[Suspicion, Row, UnitSpan | None, UnitSpan | None]]:
        known = set(self.gold)
        for span, sure in self._sure.items():
            if sure >= _MISSING and span not in known and not self._touching(span):
                yield "missing", self._row(span, None, free=1), None, span
        for gold in self.gold:
            rival, sure = self._rival.get(gold), self._sure_of(gold)
            if rival is not None and self._sure[rival] > sure:
                kind: Suspicion = "label" if rival.segments == gold.segments else "boundary"
                yield kind, self._row(rival, gold, marked=1), gold, rival
            elif sure < 0.5:
                yield "spurious", self._row(None, gold, marked=1), gold, None

    def made_up(self) -> Iterator[tuple[Suspicion, Row]]:
        """Yield what would be said of each gold entity if it were wrong, in each way."""
        for gold in self.gold:
            sides = [span for span in (gold, self._rival.get(gold)) if span in self._sure]
            best = max(sides, key=self._sure_of, default=None)
            own = int(best == gold)
            if best is not None and self._sure[best] >= _MISSING:
                yield "missing", self._row(best, None, own=own)
            if (moved := self._shifted(gold)) is not None:
                others = [span for span in sides if span != moved]
                other = max(others, key=self._sure_of, default=None)
                if other is not None and self._sure[other] > self._sure_of(moved):
                    yield "boundary", self._row(other, moved, own=int(other == gold))
            if len(self._labels) > 1 and gold in self._sure:
                names = [label for label in self._labels if label != gold.label]
                wrong = UnitSpan(str(self._rng.choice(names)), gold.segments)
                if self._sure[gold] > self._sure_of(wrong):
                    yield "label", self._row(gold, wrong, own=1)
            if (elsewhere := self._elsewhere(gold)) is not None and self._sure_of(elsewhere) < 0.5:
                yield "spurious", self._row(None, elsewhere, gold_free=1)

    def _sure_of(self, span: UnitSpan) -> float:
        return self._sure.get(span, LEAST / 2)

    def _shifted(self, gold: UnitSpan) -> UnitSpan | None:
        a, b = ((-1, 0), (1, 0), (0, -1), (0, 1))[self._rng.integers(4)]
        start, stop = gold.start + a, gold.stop + b
        return UnitSpan.of(gold.label, start, stop) if 0 <= start < stop <= self._n else None

    def _elsewhere(self, gold: UnitSpan) -> UnitSpan | None:
        """Return an entity of some words that are none."""
        length = min(3, gold.stop - gold.start)
        for _ in range(20):
            start = int(self._rng.integers(max(1, self._n - length + 1)))
            units = range(start, min(start + length, self._n))
            if all(self._letters[unit] and unit not in self._owners for unit in units):
                return UnitSpan.of(gold.label, start, units.stop)
        return None

    def _row(
        self,
        suggestion: UnitSpan | None,
        gold: UnitSpan | None,
        *,
        free: int = 0,
        marked: int = 0,
        own: int = 0,
        gold_free: int = 0,
    ) -> Row:
        """Return what is known: probabilities, and how the texts are labelled elsewhere, in as good as odds.

        ``free``, ``marked``, ``own`` and ``gold_free`` are taken off the counts for the place itself.
        """
        outside = 0.0
        if gold is None or suggestion is None:
            span = gold or suggestion
            assert span is not None
            values = self._outside[list(span.units)]
            outside = float(values.min() if suggestion is None else values.max())
        sure = outside if suggestion is None else self._sure_of(suggestion)
        row = [_logit(sure), _logit(LEAST / 2 if gold is None else self._sure_of(gold))]
        row += [0.0, 0.0] if suggestion is None else self._texts.odds(self._first, suggestion, own, free)
        row += [0.0, 0.0] if gold is None else self._texts.odds(self._first, gold, marked, gold_free)
        size = gold or suggestion
        return [*row, float(size.stop - size.start if size else 0), _logit(outside)]


class _Texts:
    """How often texts are entities, and how often they are not, in all documents."""

    def __init__(self, documents: _Documents) -> None:
        self._units = np.frombuffer(documents.units, np.int32).astype(np.uint64) + np.uint64(1)
        taken = np.zeros(len(self._units) + 1, np.int64)
        self._marked: dict[tuple[int, str], int] = {}
        wanted: set[int] = set()
        for number in range(len(documents)):
            first, stop = documents.first[number : number + 2]
            for span in documents.gold[number]:
                key = self._key(first, span), span.label
                self._marked[key] = self._marked.get(key, 0) + 1
                for low, high in span.segments:
                    taken[first + low : first + high] = 1
                for a, b in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)):
                    if 0 <= span.start + a < span.stop + b <= stop - first:
                        wanted.add(self._key(first, UnitSpan.of("", span.start + a, span.stop + b)))
            wanted |= {self._key(first, span) for span in documents.likely[number]}
        self._free = self._counted(documents, np.cumsum(np.append(0, taken[:-1])), wanted)

    def _key(self, first: int, span: UnitSpan) -> int:
        units = np.concatenate([self._units[first + start : first + stop] for start, stop in span.segments])
        key = np.uint64(0)
        with np.errstate(over="ignore"):
            for unit in units:
                key = key * _MULTIPLIER + unit
        return int(key)

    def _counted(self, documents: _Documents, taken: NDArray[np.int64], wanted: set[int]) -> dict[int, int]:
        """Return how often the texts that are ``wanted`` stand where no entity is."""
        known = np.array(sorted(wanted), np.uint64)
        counts = np.zeros(len(known), np.int64)
        n = len(self._units)
        bounds: NDArray[np.int64] = np.array(documents.first, np.int64)
        ends = np.repeat(bounds[1:], bounds[1:] - bounds[:-1])
        keys = np.zeros(n, np.uint64)
        for length in range(1, min(_LONGEST, n) + 1):
            with np.errstate(over="ignore"):
                keys = keys[: n - length + 1] * _MULTIPLIER + self._units[length - 1 :]
            at = np.arange(len(keys))
            free = (at + length <= ends[at]) & (taken[at + length] == taken[at])
            some = keys[free]
            place = np.searchsorted(known, some)
            is_known = np.append(known, 0)[place] == some
            counts += np.bincount(place[is_known & (place < len(known))], minlength=len(known))
        return dict(zip(known.tolist(), counts.tolist(), strict=True))

    def odds(self, first: int, span: UnitSpan, marked: int, free: int) -> Row:
        """Return how much rather a text is an entity of the label than none, in as good as log odds, and how often."""
        key = self._key(first, span)
        marked = max(0, self._marked.get((key, span.label), 0) - marked)
        free = max(0, self._free.get(key, 0) - free)
        return [float(np.log((marked + 0.5) / (free + 0.5))), float(np.log1p(marked + free))]


def _logit(value: float) -> float:
    value = min(max(value, 1e-6), 1 - 1e-6)
    return float(np.log(value / (1 - value)))


def _odds(found: NDArray[np.float64], made_up: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Return the log odds that what was found is like what was made up, of which there is a ``share`` among it.

    A logistic regression of one against the other is the ratio of their densities. Among what was found there are
    errors too: it counts as such as far as it is not likely one, in a few rounds (EM, as Elkan and Noto, "Learning
    Classifiers from Only Positive and Unlabeled Data", KDD 2008).
    """
    both = np.concatenate([found, made_up])
    both = (both - both.mean(0)) / (both.std(0) + 1e-9)
    both = np.concatenate([np.clip(both, -8, 8), np.ones((len(both), 1))], 1)
    is_error = np.append(np.zeros(len(found)), np.ones(len(made_up)))
    prior = float(np.log(share / (1 - share)))
    likely, weights = np.full(len(found), share), np.zeros(both.shape[1])
    for _ in range(_ROUNDS):
        right = 1 - likely
        counts = np.append(right, np.full(len(made_up), right.sum() / len(made_up)))
        weights = _regression(both, is_error, counts, weights)
        odds: NDArray[np.float64] = both[: len(found)] @ weights + prior
        likely = _sigmoid(odds)
    return odds


def _regression(
    x: NDArray[np.float64], y: NDArray[np.float64], counts: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the weights of a logistic regression with a ridge, by Newton's method."""
    for _ in range(30):
        p = _sigmoid(x @ weights)
        gradient = x.T @ (counts * (p - y)) + _RIDGE * weights
        curvature = (x * (counts * p * (1 - p))[:, None]).T @ x + _RIDGE * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        size = float(np.abs(step).max())
        weights = weights - step * min(1.0, 5 / max(size, 1e-12))
        if size < 1e-6:
            break
    return weights


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.clip(values, -30, 30)))

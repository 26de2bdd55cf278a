"""Which units of a context carry an entity: each is hidden in turn, and the entity scored again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_core.data.units import ParsedDocument
from papermage_core.document import Entity
from papermage_core.evaluation.view import Shown
from papermage_core.plugin.spec import Context, HeadOutput, UnitSpan
from papermage_core.terminal import printable

__all__ = ["HIDDEN", "Explanation", "Weight", "explained"]

HIDDEN = "□"
"""The word that stands for a hidden one: no encoder leaves it out, and none has learned anything of it."""
MOST = 512
"""How many times a context is looked at, at most; in longer ones neighbours are hidden together."""
_AT_ONCE = 20_000
"""Units of the contexts that are made at a time."""
Decode = Callable[[Iterable[ParsedDocument]], Iterator[tuple[ParsedDocument, list[list[HeadOutput]]]]]


@attrs.frozen
class Weight:
    """How much of an entity's score a stretch of units carries."""

    text: str
    start: int
    """First character in the document."""
    stop: int
    """One past its last character."""
    weight: float
    """The entity's score less what is left of it with the stretch hidden. Negative where it speaks against it."""
    is_entity: bool
    """Whether it is of the entity itself."""


@attrs.frozen(repr=False)
class Explanation:
    """What carries an entity: notebooks show it, and ``print`` lists the stretches of the greatest weight.

    >>> weights = [Weight("Dr.", 0, 3, 0.6, False), Weight("Who", 4, 7, 0.1, True)]
    >>> print(Explanation("Who", "names", 0.9, True, weights, "Dr. Who").table(1))
    names 'Who', score 0.900; with a unit hidden, the score falls by
    +0.600  Dr.
    """

    text: str
    label: str
    score: float
    """Of the entity with nothing hidden: as `predict` scores it, or 0 where the model does not consider it."""
    is_probability: bool
    """No: the head gives no probability, and scores are 1 for found and 0 for not found."""
    weights: Sequence[Weight]
    """In reading order."""
    symbols: str
    """The text of the document."""

    def table(self, n: int = 10) -> str:
        """Return the ``n`` stretches of the greatest weight, whether for or against, for the terminal."""
        chosen = sorted(self.weights, key=lambda each: -abs(each.weight))[:n]
        lines = [f"{each.weight:+.3f}  {_line(each.text)}{'  (entity)' * each.is_entity}" for each in chosen]
        return "\n".join([self._head(), *lines])

    def show(self, height: int = 300) -> Shown:
        """Return a page of the context, darker where more of the score lies: green for the entity, red against it."""
        return Shown(self._page(), 1, height)

    def _repr_html_(self) -> str:
        return self.show()._repr_html_()

    def __str__(self) -> str:
        return self.table()

    __repr__ = __str__

    def _head(self) -> str:
        what = "the score falls by" if self.is_probability else "it is lost (1) or stays (0); the head gives no score:"
        return f"{self.label} {_line(self.text)!r}, score {self.score:.3f}; with a unit hidden, {what}"

    def _page(self) -> str:
        most = max((abs(each.weight) for each in self.weights), default=0) or 1
        parts, place = [], min((each.start for each in self.weights), default=0)
        for each in sorted(self.weights, key=lambda each: each.start):
            colour = "0 128 0" if each.weight > 0 else "200 0 0"
            style = f"background: rgb({colour} / {0.7 * abs(each.weight) / most:.2f})"
            name = "strong" if each.is_entity else "span"
            parts.append(escape(self.symbols[place : each.start]))
            text = escape(self.symbols[max(place, each.start) : each.stop])
            parts.append(f'<{name} style="{style}" title="{each.weight:+.3f}">{text}</{name}>')
            place = max(place, each.stop)
        head = "<!doctype html><meta charset='utf-8'><title>What carries an entity</title>"
        what = f"{self.label} {_line(self.text)!r}, score {self.score:.3f}: green carries it, red speaks against it"
        return f"{head}<p>{escape(what)}</p><p style='white-space: pre-wrap'>{''.join(parts)}</p>\n"


def explained(
    parsed: ParsedDocument,
    entity: Entity,
    decode: Decode,
    task: int,
    scored: Callable[[Sequence[float]], list[float]],
    groups: NDArray[np.int32] | None = None,
) -> Explanation:
    """Return what carries an entity. ``decode`` is asked for what heads say of the contexts of documents.

    ``task`` is the head that knows the label, ``scored`` makes scores of probabilities, ``groups`` says of each unit of
    the document with which others it is hidden, -1 for alone. Raises ValueError for an entity that is not made of units
    of one context.
    """
    number, span = _place(parsed, entity)
    context, units = parsed.contexts[number], parsed.units[number]
    if groups is not None:
        together = groups[units].astype(np.int64)
        together[together < 0] = together.max(initial=0) + 1 + np.arange((together < 0).sum())
    else:
        together = np.arange(len(units)) // -(-len(units) // MOST)
    hidden = [np.flatnonzero(together == each) for each in dict.fromkeys(together.tolist())]
    found: list[float] = []
    is_probability = True
    for _, outputs in decode(_documents(parsed, context, units, [np.zeros(0, np.int64), *hidden])):
        for of_context in outputs:
            known = {each: each.score for each in of_context[task].spans}
            is_probability &= all(score is not None for score in known.values())
            score = known.get(span, 0.0)
            found.append(1.0 if score is None else score)
    whole, *left = scored(found)
    own = set(span.units)
    weights = [
        _weight(parsed, units[places], whole - score, bool(own.intersection(places.tolist())))
        for places, score in zip(hidden, left, strict=True)
        if (parsed.starts[units[places]] >= 0).any()
    ]
    text = _weight(parsed, units[list(span.units)], 0.0, True).text
    return Explanation(text, span.label, whole, is_probability, weights, parsed.symbols)


def _place(parsed: ParsedDocument, entity: Entity) -> tuple[int, UnitSpan]:
    """Return the context of an entity, and the entity in units of it."""
    touched = np.zeros(parsed.n_units, np.bool_)
    for span in entity.spans:
        touched |= (parsed.starts < span.end) & (parsed.stops > span.start) & (parsed.starts >= 0)
    contexts, places = parsed.places()
    which = sorted(set(contexts[touched].tolist()))
    if len(which) != 1:
        what = "several contexts, which are read apart" if which else "no unit of the document"
        text = " ".join(parsed.symbols[span.start : span.end] for span in entity.spans)
        raise ValueError(f"explain: the entity {_line(text)!r:.80} lies in {what}")
    label: str = entity.metadata.label
    return which[0], UnitSpan.joining(label, [(place, place + 1) for place in np.sort(places[touched]).tolist()])


def _documents(
    parsed: ParsedDocument, context: Context, units: NDArray[np.int64], hidden: Sequence[NDArray[np.int64]]
) -> Iterator[ParsedDocument]:
    """Yield documents of some contexts each: the same one, each time with other units hidden."""
    step = max(1, _AT_ONCE // len(units))
    for first in range(0, len(hidden), step):
        some = [_without(context, places) for places in hidden[first : first + step]]
        yield attrs.evolve(parsed, contexts=some, units=[units] * len(some))


def _without(context: Context, places: NDArray[np.int64]) -> Context:
    words = list(context.words)
    for place in places.tolist():
        words[place] = HIDDEN
    return attrs.evolve(context, words=words)


def _weight(parsed: ParsedDocument, units: NDArray[np.int64], weight: float, is_entity: bool) -> Weight:
    there = units[parsed.starts[units] >= 0]
    start, stop = int(parsed.starts[there].min()), int(parsed.stops[there].max())
    return Weight(parsed.symbols[start:stop], start, stop, weight, is_entity)


def _line(text: str) -> str:
    return printable(" ".join(text.split()))

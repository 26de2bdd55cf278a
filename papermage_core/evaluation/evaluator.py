"""Documents with gold and predicted entities → scores, mistakes and what they are by, holding none of the documents."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from papermage_core.errors import nearest
from papermage_core.evaluation.documents import DocumentCounts
from papermage_core.evaluation.mistakes import ErrorLog, UnitText, document_errors
from papermage_core.evaluation.scorer import Scorer
from papermage_core.evaluation.scores import Scores
from papermage_core.plugin.spec import UnitSpan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from papermage_core.data.units import ParsedDocument

__all__ = ["EntityEvaluator", "Watch", "text_of", "unit_text"]

_log = logging.getLogger(__name__)

Watch = Callable[[UnitText, Sequence[UnitSpan], Sequence[UnitSpan]], None]
"""Is told of each document its text, its gold and what was predicted."""
NO_VALUE = "(none)"


class EntityEvaluator:
    """Takes documents, one after the other.

    ``by`` are keys of documents' metadata to give scores by; ``seen`` says how often a text is an entity in the
    training data, ``unknown`` which words do not stand there; ``watch`` is told of
    every document. With ``names``, those of the documents are kept.
    """

    def __init__(
        self,
        labels: Iterable[str] = (),
        *,
        by: Sequence[str] = (),
        seen: Callable[[str], int] | None = None,
        unknown: Callable[[Iterable[str]], Sequence[bool]] | None = None,
        watch: Watch | None = None,
        names: bool = False,
    ) -> None:
        self._scorer = Scorer(labels)
        self.errors = ErrorLog()
        self.names: list[str] | None = [] if names else None
        self._by, self._seen, self._watch, self._unknown = tuple(by), seen, watch, unknown
        self._keys: set[str] = set()
        """The keys of documents' metadata, where scores are given by some of them."""
        self._shares = array("d")

    def add(
        self,
        parsed: ParsedDocument,
        gold: Sequence[UnitSpan],
        predicted: Sequence[UnitSpan],
        unreachable: Sequence[str] = (),
        unit_scores: NDArray[Any] | None = None,
        outside: Sequence[str] = (),
    ) -> None:
        """Count a document, which must hold the `Document` itself where scores are given by metadata.

        ``unit_scores`` as for `document_errors`; ``unreachable`` and ``outside`` as for `Scorer.add`.
        """
        text = unit_text(parsed)
        seen = self._seen
        groups = None
        if self._by:
            assert parsed.document is not None, "scores by metadata want the documents"
            self._keys.update(parsed.document.metadata)
            groups = {key: _shown(parsed.document.metadata.get(key, None)) for key in self._by}
        self._scorer.add(
            gold,
            predicted,
            unreachable,
            outside=outside,
            groups=groups,
            seen=None if seen is None else lambda span: seen(text_of(span, text)),
        )
        for error in document_errors(gold, predicted, text, unit_scores=unit_scores):
            self.errors.add(error)
        if self.names is not None:
            self.names.append(parsed.name)
        if self._unknown is not None:
            told = self._unknown(word for context in parsed.contexts for word in context.words)
            self._shares.append(sum(told) / len(told) if told else np.nan)
        if self._watch is not None:
            self._watch(text, gold, predicted)

    def scores(self) -> Scores:
        """Return the scores of the documents so far, with intervals; warn of keys ``by`` that no document has."""
        for key in self._by:
            if key not in self._keys:
                known = ", ".join(sorted(self._keys)) or "none"
                hint = nearest(key, self._keys)
                _log.warning("by=%s: no document has this key in its metadata.%s Keys there: %s", key, hint, known)
        return self._scorer.scores(intervals=True)

    @property
    def unknown(self) -> NDArray[np.float64]:
        """The share of unknown words of each document, where that was asked for. Shape (documents,)."""
        return np.array(self._shares, np.float64)

    def documents(self) -> DocumentCounts:
        """Return the counts of each document."""
        return self._scorer.document_counts()


def unit_text(parsed: ParsedDocument) -> UnitText:
    """Return the text of a parsed document, and where its units lie in it."""
    return UnitText(document=parsed.name, symbols=parsed.symbols, starts=parsed.starts, stops=parsed.stops)


def text_of(span: UnitSpan, text: UnitText) -> str:
    """Return the text of an entity, its segments joined by spaces."""
    places = (text.chars(start, stop) for start, stop in span.segments)
    return " ".join(text.symbols[start:stop] for start, stop in places)


def _shown(value: object) -> str:
    return NO_VALUE if value is None or value == "" else str(value)

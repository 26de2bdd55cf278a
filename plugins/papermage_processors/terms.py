"""The processor ``terms``: what a list of terms and patterns names, as a layer."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import attrs
import numpy as np

from papermage_core.document import Document, Layer, SpanArrays
from papermage_core.errors import counted
from papermage_core.plugin import DocumentProcessorConfig, hookimpl, option
from papermage_processors.boxed import span_boxes
from papermage_processors.layers import LayerProcessor
from papermage_processors.matching import Matcher
from papermage_processors.term_lists import Case, Term, read_terms, write_terms

__all__ = ["TermsConfig", "papermage_document_processor"]

_log = logging.getLogger(__name__)
_KEPT = "terms.jsonl"


@attrs.frozen(kw_only=True)
class TermsConfig(DocumentProcessorConfig):
    """What a list of terms and patterns names, wherever it stands as whole words."""

    path: Path = option(
        help="the list: a term a line, label and identifier behind tabs (.csv: commas); .jsonl: patterns of spaCy "
        "and Prodigy; a term between slashes is a regular expression"
    )
    layer_name: str = option("terms", help="layer to put the entities in")
    label: str = option("", help="label of terms that have none; default: the name of the layer")
    case: Case = option(
        "auto",
        help="exact: as written; ignore: in any case; auto: as written if a term is short or has a capital behind its "
        "first letter",
        choices=("auto", "exact", "ignore"),
    )
    unless: tuple[str, ...] = option((), help="layers that win: what overlaps an entity of theirs is left out")

    @property
    def reads(self) -> tuple[str, ...]:
        """The layers that win, and ``tokens``: entities have boxes if those have."""
        return ("tokens", *self.unless)

    @property
    def makes(self) -> tuple[str, ...]:
        """The layer of the entities."""
        return (self.layer_name,)

    @property
    def fingerprint(self) -> str:
        """A hash of the terms."""
        return hashlib.sha256(repr(read_terms(self.path)).encode("utf-8", "surrogatepass")).hexdigest()

    def save(self, folder: Path) -> TermsConfig:
        """Write the terms."""
        write_terms(read_terms(self.path), folder / _KEPT)
        return attrs.evolve(self, path=Path(_KEPT))

    def load(self, folder: Path) -> TermsConfig:
        """Return the config of the terms that were written."""
        return attrs.evolve(self, path=folder / _KEPT)

    def build(self) -> LayerProcessor:
        """Return a new processor. Raises DataError for a list that cannot be read."""
        terms = read_terms(self.path)
        matcher = Matcher(terms, self.case)
        _tell(self.path, terms, matcher.again)
        return LayerProcessor(self.layer_name, partial(self._layer, terms, matcher))

    def _layer(self, terms: Sequence[Term], matcher: Matcher, document: Document) -> Layer:
        text = document.symbols or ""
        found = matcher.find(text, self._taken(document, len(text)))
        spans = SpanArrays.one_each([match.start for match in found], [match.stop for match in found])
        metadata = [self._metadata(terms[match.term]) for match in found]
        return Layer.from_arrays(spans, span_boxes(document, spans, by_line=True), metadata)

    def _taken(self, document: Document, length: int) -> bytearray:
        """Return which characters are of an entity that wins."""
        taken = np.zeros(length, np.uint8)
        for name in filter(document.has_layer, self.unless):
            spans = document.get_layer(name).span_arrays()
            for start, stop in zip(spans.start.tolist(), spans.stop.tolist(), strict=True):
                taken[start:stop] = 1
        return bytearray(taken)

    def _metadata(self, term: Term) -> dict[str, str]:
        found = {"label": term.label or self.label or self.layer_name}
        return found | ({"identifier": term.identifier} if term.identifier else {})


def _tell(path: Path, terms: Sequence[Term], again: Sequence[tuple[int, int]]) -> None:
    """Warn of terms that stand twice with another label or identifier."""
    unlike = [
        (terms[number], terms[first])
        for number, first in again
        if (terms[number].label, terms[number].identifier) != (terms[first].label, terms[first].identifier)
    ]
    if unlike:
        second, first = unlike[0]
        message = "%s: %s another label or identifier than the same term before, which counts: %r is %s, not %s"
        shown = [" ".join(filter(None, (term.label, term.identifier))) or "without one" for term in (first, second)]
        _log.warning(message, path, counted(len(unlike), "terms", "have"), second.text, *shown)


@hookimpl
def papermage_document_processor(name: str) -> type[TermsConfig]:
    """Return the config class."""
    return TermsConfig

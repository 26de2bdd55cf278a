"""The processor ``words``: words as they are read, those that the end of a line cuts in two joined again."""

from __future__ import annotations

import re

import attrs
import numpy as np

from papermage_core.document import Document, Layer, SpanArrays
from papermage_core.plugin import DocumentProcessorConfig, hookimpl
from papermage_processors.boxed import span_boxes
from papermage_processors.layers import LayerProcessor
from papermage_processors.tokenizing import token_spans

__all__ = ["WordsConfig", "papermage_document_processor"]

_CUT = re.compile(r"(?<=\w)([-\u2010\u00ad])[^\S\n]*\n\s*(?=[^\W\d_])")
_WHOLE = re.compile(r"\w[\w\u2010-]*")


@attrs.frozen(kw_only=True)
class WordsConfig(DocumentProcessorConfig):
    """Words; one that a line break hyphenates has two spans, and ``text`` in its metadata."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The layer ``tokens``: words have boxes if those have."""
        return ("tokens",)

    @property
    def makes(self) -> tuple[str, ...]:
        """The layer ``words``."""
        return ("words",)

    def build(self) -> LayerProcessor:
        """Return a new processor."""
        return LayerProcessor("words", words_of)


def words_of(document: Document) -> Layer:
    """Return a layer of words.

    The hyphen is left out where the document has the word without one elsewhere, or, if it has the word neither way,
    where both parts are small letters; else it belongs to the first part.
    """
    text = document.symbols or ""
    cuts = {found.start(1): found.end() for found in _CUT.finditer(text)}
    seen = set(_WHOLE.findall(text)) if cuts else set()
    spans = list(zip(*(ends.tolist() for ends in token_spans(text, "words")), strict=True))
    words: list[list[tuple[int, int]]] = []
    texts: list[str | None] = []
    i = 0
    while i < len(spans):
        segments = [spans[i]]
        while (found := _continued(text, spans, i, cuts)) is not None:
            i, hyphen = found
            start, rest = segments[-1][0], text[slice(*spans[i])]
            kept = text[hyphen] != "\u00ad" and _keeps_hyphen(text[start:hyphen], rest, seen)
            segments[-1:] = [(start, hyphen + kept), spans[i]]
        words.append(segments)
        texts.append("".join(text[start:stop] for start, stop in segments) if len(segments) > 1 else None)
        i += 1
    owners = np.repeat(np.arange(len(words)), [len(segments) for segments in words])
    ends = np.array([span for segments in words for span in segments], np.int64).reshape(-1, 2)
    places = SpanArrays(ends[:, 0].copy(), ends[:, 1].copy(), owners)
    return Layer.from_arrays(places, span_boxes(document, places), {"text": texts} if cuts else None)


def _continued(text: str, spans: list[tuple[int, int]], i: int, cuts: dict[int, int]) -> tuple[int, int] | None:
    """Return the number of the token that goes on with token ``i`` on the next line, and where its hyphen stands."""
    stop = spans[i][1]
    soft = text[stop - 1] == "\u00ad"
    hyphen, after = (stop - 1, i + 1) if soft else (stop, i + 2)
    if hyphen in cuts and after < len(spans) and spans[after][0] == cuts[hyphen]:
        return after, hyphen
    return None


def _keeps_hyphen(before: str, rest: str, seen: set[str]) -> bool:
    if before + rest in seen or (before + rest).lower() in seen:
        return False
    if f"{before}-{rest}" in seen:
        return True
    return not (before.rpartition("-")[2].islower() and "-" not in before and rest[0].islower())


@hookimpl
def papermage_document_processor(name: str) -> type[WordsConfig]:
    """Return the config class."""
    return WordsConfig

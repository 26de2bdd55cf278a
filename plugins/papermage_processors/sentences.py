"""The processor ``sentences``: sentences of scientific prose, by rule."""

from __future__ import annotations

from itertools import chain

import attrs
import numpy as np

from papermage_core.document import Document, Layer, SpanArrays
from papermage_core.plugin import DocumentProcessorConfig, hookimpl
from papermage_processors.layers import LayerProcessor
from papermage_processors.splitting import sentence_spans

__all__ = ["SentencesConfig", "papermage_document_processor"]


@attrs.frozen(kw_only=True)
class SentencesConfig(DocumentProcessorConfig):
    """Sentences, found by marks, abbreviations, initials, brackets and blank lines."""

    @property
    def makes(self) -> tuple[str, ...]:
        """The layer ``sentences``."""
        return ("sentences",)

    def build(self) -> LayerProcessor:
        """Return a new processor."""
        return LayerProcessor("sentences", _sentences)


def _sentences(document: Document) -> Layer:
    ends = np.fromiter(chain.from_iterable(sentence_spans(document.symbols or "")), np.int64).reshape(-1, 2)
    return Layer.from_arrays(SpanArrays.one_each(ends[:, 0].copy(), ends[:, 1].copy()))


@hookimpl
def papermage_document_processor(name: str) -> type[SentencesConfig]:
    """Return the config class."""
    return SentencesConfig

"""The processor ``tokens``: the words and signs of the text, by rule, with exact offsets."""

from __future__ import annotations

from functools import partial

import attrs

from papermage_core.document import Document, Layer, SpanArrays
from papermage_core.plugin import DocumentProcessorConfig, hookimpl, option
from papermage_processors.layers import LayerProcessor
from papermage_processors.tokenizing import STYLES, Style, token_spans

__all__ = ["TokensConfig", "papermage_document_processor"]


@attrs.frozen(kw_only=True)
class TokensConfig(DocumentProcessorConfig):
    """Options of the processor ``tokens``."""

    style: Style = option(
        "punctuation",
        help="punctuation: each sign alone; words: IL-2 and 3.5 stay whole; grobid: as GROBID",
        choices=STYLES,
    )

    @property
    def makes(self) -> tuple[str, ...]:
        """The layer ``tokens``."""
        return ("tokens",)

    def build(self) -> LayerProcessor:
        """Return a new processor."""
        return LayerProcessor("tokens", partial(_tokens, self.style))


def _tokens(style: Style, document: Document) -> Layer:
    return Layer.from_arrays(SpanArrays.one_each(*token_spans(document.symbols or "", style)))


@hookimpl
def papermage_document_processor(name: str) -> type[TokensConfig]:
    """Return the config class."""
    return TokensConfig

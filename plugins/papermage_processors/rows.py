"""The processor ``rows``: the lines of a page, from the boxes of tokens, or from the text."""

from __future__ import annotations

import attrs

from papermage_core.document import Document, Layer
from papermage_core.plugin import DocumentProcessorConfig, hookimpl
from papermage_processors.boxed import Boxed, grouped, split
from papermage_processors.layers import LayerProcessor
from papermage_processors.layout import begin_rows

__all__ = ["RowsConfig", "papermage_document_processor"]


@attrs.frozen(kw_only=True)
class RowsConfig(DocumentProcessorConfig):
    """Rows of tokens that stand beside each other; without boxes, the lines of the text."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The layer ``tokens``."""
        return ("tokens",)

    @property
    def makes(self) -> tuple[str, ...]:
        """The layer ``rows``."""
        return ("rows",)

    def build(self) -> LayerProcessor:
        """Return a new processor."""
        return LayerProcessor("rows", rows_of)


def rows_of(document: Document) -> Layer:
    """Return a layer of rows."""
    tokens = Boxed.of(document, "tokens")
    return split(document, r"(\S.*)") if tokens is None else grouped(tokens, begin_rows(*tokens.seen))


@hookimpl
def papermage_document_processor(name: str) -> type[RowsConfig]:
    """Return the config class."""
    return RowsConfig

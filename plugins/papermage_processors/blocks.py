"""The processor ``blocks``: rows that belong together, from their boxes, or from the blank lines of the text."""

from __future__ import annotations

import attrs

from papermage_core.document import Document, Layer
from papermage_core.plugin import DocumentProcessorConfig, hookimpl
from papermage_processors.boxed import Boxed, grouped, split
from papermage_processors.layers import LayerProcessor
from papermage_processors.layout import begin_blocks
from papermage_processors.rows import rows_of

__all__ = ["BlocksConfig", "papermage_document_processor"]


@attrs.frozen(kw_only=True)
class BlocksConfig(DocumentProcessorConfig):
    """Blocks of rows that stand close below each other; without boxes, the paragraphs of the text."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The layers ``rows``, and ``tokens`` where there are none."""
        return ("rows", "tokens")

    @property
    def makes(self) -> tuple[str, ...]:
        """The layer ``blocks``."""
        return ("blocks",)

    def build(self) -> LayerProcessor:
        """Return a new processor."""
        return LayerProcessor("blocks", _blocks)


def _blocks(document: Document) -> Layer:
    rows = Boxed.of(document, "rows")
    if rows is None and Boxed.of(document, "tokens") is not None:
        rows = Boxed.of_layer(rows_of(document))
    if rows is None:
        return split(document, r"(\S(?:.|\n(?![^\S\n]*\n))*)")
    boxes, page = rows.seen
    return grouped(rows, begin_blocks(boxes, boxes[:, 3] - boxes[:, 1], page))


@hookimpl
def papermage_document_processor(name: str) -> type[BlocksConfig]:
    """Return the config class."""
    return BlocksConfig

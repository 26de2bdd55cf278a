"""Options of ``processors=example-plugin``, and the hook."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import attrs
from papermage_core import Document, Entity, Span
from papermage_core.plugin import DocumentProcessor, DocumentProcessorConfig, hookimpl, option

papermage_api_version = 2


@attrs.frozen(kw_only=True)
class ExamplePluginProcessorConfig(DocumentProcessorConfig):
    """Whatever matches a pattern becomes an entity of the layer ``numbers``."""

    pattern: str = option(r"\d+(\.\d+)?", help="regular expression of an entity")

    @property
    def makes(self) -> tuple[str, ...]:
        """The layers that are added."""
        return ("numbers",)

    def build(self) -> DocumentProcessor:
        """Return a new processor."""
        return ExamplePluginProcessor(self.pattern)


class ExamplePluginProcessor:
    """Adds a layer to documents that lack it, one document at a time."""

    def __init__(self, pattern: str) -> None:
        self.find = re.compile(pattern).finditer

    def process(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the same documents; one that has the layer keeps its own."""
        for document in documents:
            if not document.has_layer("numbers"):
                found = (match.span() for match in self.find(document.symbols or "") if match[0])
                document.annotate_layer("numbers", [Entity(spans=[Span(*span)]) for span in found])
            yield document


@hookimpl
def papermage_document_processor() -> type[ExamplePluginProcessorConfig]:
    """Serve ``example-plugin``."""
    return ExamplePluginProcessorConfig

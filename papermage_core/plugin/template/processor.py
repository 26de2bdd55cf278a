"""A document processor: a layer made by a pattern."""

from __future__ import annotations

__all__ = ["FILES"]

_PLUGIN = '''\
"""Options of ``processors=$name``, and the hook."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import attrs
from papermage_core import Document, Entity, Span
from papermage_core.plugin import DocumentProcessor, DocumentProcessorConfig, hookimpl, option

papermage_api_version = $api_version


@attrs.frozen(kw_only=True)
class ${class_name}ProcessorConfig(DocumentProcessorConfig):
    """Whatever matches a pattern becomes an entity of the layer ``numbers``."""

    pattern: str = option(r"\\\\d+(\\\\.\\\\d+)?", help="regular expression of an entity")

    @property
    def makes(self) -> tuple[str, ...]:
        """The layers that are added."""
        return ("numbers",)

    def build(self) -> DocumentProcessor:
        """Return a new processor."""
        return ${class_name}Processor(self.pattern)


class ${class_name}Processor:
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
def papermage_document_processor() -> type[${class_name}ProcessorConfig]:
    """Serve ``$name``."""
    return ${class_name}ProcessorConfig
'''.replace("\\\\", "\\")

_TEST = '''\
"""The processor keeps to what papermage_core asks of a document processor."""

from papermage_core import Document
from papermage_core.testing import DocumentProcessorSuite

from $module.plugin import ${class_name}ProcessorConfig


class Test${class_name}Processor(DocumentProcessorSuite):
    component = "$name"
    options = ({}, {"pattern": "x*"})


def test_numbers_are_found():
    (document,) = ${class_name}ProcessorConfig().build().process([Document("1 of 2.5")])
    assert [number.text for number in document.get_layer("numbers")] == ["1", "2.5"]
'''

FILES = {
    "src/$module/plugin.py": _PLUGIN,
    "tests/test_$module.py": _TEST,
}

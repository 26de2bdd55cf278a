"""A document writer: a table of entities."""

from __future__ import annotations

__all__ = ["FILES"]

_PLUGIN = '''\
"""Options of ``writer=$name``, and the hook."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import IO, ClassVar

import attrs
from papermage_core import Document
from papermage_core.plugin import DocumentWriter, DocumentWriterConfig, hookimpl, option

papermage_api_version = $api_version


@attrs.frozen(kw_only=True)
class ${class_name}WriterConfig(DocumentWriterConfig):
    """A line an entity: document, layer, start, end and text, with tabs between."""

    suffixes: ClassVar[tuple[str, ...]] = (".$module",)

    layers: tuple[str, ...] = option((), help="layers to write; none: all")

    def build(self) -> DocumentWriter:
        """Return a new writer."""
        return ${class_name}Writer(self.layers)


class ${class_name}Writer:
    """Writes the entities of documents, and counts what a table has no place for."""

    def __init__(self, layers: tuple[str, ...]) -> None:
        self.layers = layers

    def write(self, documents: Iterable[Document], target: IO[bytes]) -> Mapping[str, int]:
        """Write the documents; return how many entities without text, boxes and layers were left out."""
        lost = {"entities without text": 0, "boxes": 0, "layers": 0}
        for document in documents:
            names = [name for name in document.layers if name not in Document.SPECIAL_FIELDS]
            for name in names:
                if self.layers and name not in self.layers:
                    lost["layers"] += 1
                    continue
                for entity in document.get_layer(name):
                    lost["boxes"] += len(entity.boxes)
                    lost["entities without text"] += not entity.spans
                    for span in entity.spans:
                        text = json.dumps((document.symbols or "")[span.start : span.end], ensure_ascii=False)
                        cells = [document.id or "", name, str(span.start), str(span.end), text]
                        target.write("\\\\t".join(cells).encode() + b"\\\\n")
        return {kind: count for kind, count in lost.items() if count}


@hookimpl
def papermage_document_writer() -> type[${class_name}WriterConfig]:
    """Serve ``$name``."""
    return ${class_name}WriterConfig
'''.replace("\\\\", "\\")

_TEST = '''\
"""The writer keeps to what papermage_core asks of a document writer."""

import io

from papermage_core.testing import DocumentWriterSuite, make_document

from $module.plugin import ${class_name}WriterConfig


class Test${class_name}Writer(DocumentWriterSuite):
    component = "$name"
    options = ({}, {"layers": ["tokens"]})
    reader = None  # nothing reads such a table back


def test_every_entity_is_a_line():
    file = io.BytesIO()
    config = ${class_name}WriterConfig(layers=("Disease",))
    config.build().write([make_document("No ataxia.", {"Disease": ["ataxia"]}, doc_id="1")], file)
    assert file.getvalue().decode() == '1\\\\tDisease\\\\t3\\\\t9\\\\t"ataxia"\\\\n'
'''.replace("\\\\", "\\")

FILES = {
    "src/$module/plugin.py": _PLUGIN,
    "tests/test_$module.py": _TEST,
}

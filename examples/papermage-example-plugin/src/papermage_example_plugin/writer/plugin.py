"""Options of ``writer=example-plugin``, and the hook."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import IO, ClassVar

import attrs
from papermage_core import Document
from papermage_core.plugin import DocumentWriter, DocumentWriterConfig, hookimpl, option

papermage_api_version = 2


@attrs.frozen(kw_only=True)
class ExamplePluginWriterConfig(DocumentWriterConfig):
    """A line an entity: document, layer, start, end and text, with tabs between."""

    suffixes: ClassVar[tuple[str, ...]] = (".example-plugin",)

    layers: tuple[str, ...] = option((), help="layers to write; none: all")

    def build(self) -> DocumentWriter:
        """Return a new writer."""
        return ExamplePluginWriter(self.layers)


class ExamplePluginWriter:
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
                        target.write("\t".join(cells).encode() + b"\n")
        return {kind: count for kind, count in lost.items() if count}


@hookimpl
def papermage_document_writer() -> type[ExamplePluginWriterConfig]:
    """Serve ``example-plugin``."""
    return ExamplePluginWriterConfig

"""The writer ``brackets``: texts with their entities in brackets, ``Patients with [Disease ataxia]``, to be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import IO, ClassVar

import attrs
from papermage_core import Document
from papermage_core.plugin import DocumentWriter, DocumentWriterConfig, hookimpl, option

papermage_api_version = 2


@attrs.frozen(kw_only=True)
class BracketsConfig(DocumentWriterConfig):
    """Writes each text, the entities of some layers in brackets, and an empty line."""

    suffixes: ClassVar[tuple[str, ...]] = (".brackets",)

    layers: tuple[str, ...] = option(("predictions",), help="layers whose entities stand in brackets")

    def build(self) -> DocumentWriter:
        """Return a new writer."""
        return BracketsWriter(self.layers)


class BracketsWriter:
    """Keeps nothing from one document to the next, and counts what it leaves out."""

    def __init__(self, layers: tuple[str, ...]) -> None:
        self.layers = layers

    def write(self, documents: Iterable[Document], target: IO[bytes]) -> Mapping[str, int]:
        """Write the documents; return how many layers, and entities that overlap others, were left out."""
        layers = overlapping = 0
        for document in documents:
            shown = [name for name in self.layers if document.has_layer(name)]
            layers += len(document.layers) - len(Document.SPECIAL_FIELDS) - len(shown)
            marks = sorted(
                (span.start, span.end, entity.metadata.get("label", name))
                for name in shown
                for entity in document.get_layer(name)
                for span in entity.spans
            )
            text, at = "", 0
            for start, end, label in marks:
                if start < at:
                    overlapping += 1
                    continue
                text += f"{document.symbols[at:start]}[{label} {document.symbols[start:end]}]"
                at = end
            target.write(f"{text}{document.symbols[at:]}\n\n".encode())
        return {"layers": layers, "overlapping entities": overlapping}


@hookimpl
def papermage_document_writer() -> type[BracketsConfig]:
    """Serve ``brackets``."""
    return BracketsConfig

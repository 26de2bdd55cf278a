"""The reader and the writer ``text``: plain text, one document a file, without layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, ClassVar

import attrs

from papermage_core.document import Document
from papermage_core.plugin import DocumentReaderConfig, DocumentWriterConfig, hookimpl, option
from papermage_formats.labelled import ENCODING, decode_text, make_document, read_bytes, stem_of, text_of
from papermage_formats.records import RecordReader

__all__ = ["TextReader", "TextReaderConfig", "TextWriter", "TextWriterConfig"]


@attrs.frozen(kw_only=True)
class TextReaderConfig(DocumentReaderConfig):
    """Options of the reader ``text``."""

    suffixes: ClassVar[tuple[str, ...]] = (".txt", ".text")
    compressed: ClassVar[bool] = True

    encoding: str = option("", help=ENCODING)

    def build(self) -> TextReader:
        """Return a new reader."""
        return TextReader(self)


class TextReader(RecordReader[TextReaderConfig]):
    """Reads a file as one document; line ends stay as they are. The document's ``doc_id`` is the file's name."""

    def _records(self, path: Path) -> Iterator[tuple[int, int, Path]]:
        yield 1, 0, path

    def _document(self, path: Path) -> Document:
        return make_document(decode_text(read_bytes(path), self.config.encoding), {"doc_id": stem_of(path)})


@attrs.frozen(kw_only=True)
class TextWriterConfig(DocumentWriterConfig):
    """Options of the writer ``text``."""

    suffixes: ClassVar[tuple[str, ...]] = (".txt", ".text")

    def build(self) -> TextWriter:
        """Return a new writer."""
        return TextWriter()


class TextWriter:
    """Writes the text of documents, one after the other."""

    def write(self, documents: Iterable[Document], target: IO[bytes]) -> dict[str, int]:
        """Write the text; return how many entities of each layer, images and borders between documents were left."""
        lost: Counter[str] = Counter()
        border = b""
        for number, document in enumerate(documents):
            symbols = text_of(document)
            target.write(border + symbols.encode())
            border = b"" if symbols.endswith("\n") else b"\n"
            lost.update({name: len(document.get_layer(name)) for name in document.layer_names})
            lost["byte order marks"] += not number and symbols.startswith("\ufeff")
            lost.update({"images": len(document.images or ()), "borders between documents": number > 0})
        return {kind: count for kind, count in lost.items() if count}


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return TextReaderConfig


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return TextWriterConfig

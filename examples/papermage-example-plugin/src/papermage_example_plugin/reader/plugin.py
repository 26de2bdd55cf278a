"""Options of ``reader=example-plugin``, and the hook."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from pathlib import Path
from typing import ClassVar

import attrs
from papermage_core import Document, Entity, Metadata, Span
from papermage_core.errors import DataError
from papermage_core.files import open_bytes
from papermage_core.plugin import DocumentReader, DocumentReaderConfig, LocatedDocument, hookimpl, option

papermage_api_version = 2

_TOKEN = re.compile(r"\w+|[^\w\s]")


@attrs.frozen(kw_only=True)
class ExamplePluginReaderConfig(DocumentReaderConfig):
    """Plain text: a file is a document, form feeds end its pages."""

    suffixes: ClassVar[tuple[str, ...]] = (".example-plugin",)
    compressed: ClassVar[bool] = True

    encoding: str = option("utf-8", help="encoding of the files")

    def build(self) -> DocumentReader:
        """Return a new reader."""
        return ExamplePluginReader(self.encoding)


class ExamplePluginReader:
    """Gives documents with the layers tokens and pages."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding

    def read(
        self, path: Path, on_error: Callable[[DataError], None] | None = None, first: int = 0, every: int = 1
    ) -> Generator[LocatedDocument, None, int]:
        """Yield the document of a file, which is number 0 of 1. Raises DataError, or hands it to ``on_error``."""
        if first == 0:
            try:
                yield self._document(path)
            except DataError as error:
                if on_error is None:
                    raise
                on_error(error)
        return 1

    def _document(self, path: Path) -> LocatedDocument:
        with open_bytes(path) as file:
            data = file.read()
        try:
            text = data.decode(self.encoding)
        except UnicodeDecodeError as exc:
            line = data[: exc.start].count(b"\n") + 1
            raise DataError(f"not {self.encoding} text: {exc.reason}", path=path, line=line) from exc
        if not text.strip():
            raise DataError("this file holds no text", path=path)
        document = Document(text, metadata=Metadata(doc_id=path.stem))
        document.annotate_layer("tokens", [Entity(spans=[Span(*m.span())]) for m in _TOKEN.finditer(text)])
        document.annotate_layer("pages", [Entity(spans=[Span(*m.span())]) for m in re.finditer(r"[^\f]+", text)])
        return LocatedDocument(document, path, line=1, byte=0)


@hookimpl
def papermage_document_reader() -> type[ExamplePluginReaderConfig]:
    """Serve ``example-plugin``."""
    return ExamplePluginReaderConfig

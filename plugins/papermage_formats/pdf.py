"""The reader ``pdf``: the text of PDF files with tokens, rows, blocks and pages, where they stand, and their fonts.

Needs pypdfium2: ``pip install 'papermage_core[pdf]'``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import ClassVar

import attrs

from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_core.plugin import DocumentReaderConfig, LocatedDocument, hookimpl, option
from papermage_formats.records import read_records
from papermage_processors.tokenizing import STYLES, Style

__all__ = ["PdfReader", "PdfReaderConfig", "papermage_document_reader"]


@attrs.frozen(kw_only=True)
class PdfReaderConfig(DocumentReaderConfig):
    """Options of the reader ``pdf``."""

    suffixes: ClassVar[tuple[str, ...]] = (".pdf",)
    compressed: ClassVar[bool] = True
    requirement: ClassVar[str] = "papermage_core[pdf]"

    style: Style = option("punctuation", help="how text is cut into tokens: see processors=tokens", choices=STYLES)
    password: str | None = option(None, help="password of encrypted files; none: the empty one")
    processes: int = option(
        2, help="processes that read, once there are many pages and if there are two cores: 1 or 2", ge=1, le=2
    )
    images: int | None = option(None, help="add pictures of the pages of so many dots an inch", ge=1, le=600)
    max_pages: int | None = option(None, help="refuse a file of more pages", ge=1)
    max_characters: int | None = option(None, help="refuse a file of more text", ge=1)

    def build(self) -> PdfReader:
        """Return a new reader."""
        return PdfReader(self)


class PdfReader:
    """Reads a file as one document. pypdfium2 is imported with the first one."""

    def __init__(self, config: PdfReaderConfig) -> None:
        self.config = config

    def read(
        self, path: Path, on_error: Callable[[DataError], None] | None = None, first: int = 0, every: int = 1
    ) -> Generator[LocatedDocument, None, int]:
        """Yield the document of a file. Raises DataError for what is no PDF, needs a password, or holds no text."""
        return read_records(iter([(None, None, path)]), self._document, path, on_error, first, every)

    def _document(self, path: Path) -> Document:
        from papermage_formats.pdf_document import Limits, read_pdf

        config = self.config
        limits = Limits(config.max_pages, config.max_characters)
        return read_pdf(path, config.style, config.password, config.images, config.processes, limits)


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return PdfReaderConfig

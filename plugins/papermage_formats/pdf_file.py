"""An open PDF file, whose pages are read in order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pypdfium2 as pdfium

__all__ = ["FAILURES", "NoPagesError", "PdfFile"]

FAILURES = pdfium.PdfiumError, ValueError, OSError
"""What is raised for a page that cannot be read."""
_AT_ONCE = 128
"""Pages after which the file is opened anew: PDFium keeps the fonts of all pages until it is closed."""


class NoPagesError(Exception):
    """A file that PDFium does not open, and finds no fault with: it has no pages."""


class PdfFile:
    """A file, or its content. Raises PdfiumError where it cannot be opened, and NoPagesError."""

    def __init__(self, given: Path | bytes, password: str | None) -> None:
        self._given, self._password = given, password
        pdfium.raw.FPDF_LoadDocument(b"", None)  # where PDFium says nothing of a file, it says what it said before
        try:
            self.pdf = pdfium.PdfDocument(given, password=password)
        except pdfium.PdfiumError as exc:
            if pdfium.raw.FPDF_GetLastError() == pdfium.raw.FPDF_ERR_FILE and given:
                raise NoPagesError from exc
            raise
        self._opened = 0

    def __len__(self) -> int:
        return len(self.pdf)

    @contextmanager
    def page(self, number: int) -> Iterator[pdfium.PdfPage]:
        """Have a page open. Raises PdfiumError for one that cannot be opened."""
        if self._opened == _AT_ONCE:
            self._opened = 0
            with suppress(*FAILURES):  # the file may be gone; the open one is still read
                used, self.pdf = self.pdf, pdfium.PdfDocument(self._given, password=self._password)
                used.close()
        self._opened += 1
        page = self.pdf[number]
        try:
            yield page
        finally:
            page.close()

    def close(self) -> None:
        """Close the file."""
        self.pdf.close()

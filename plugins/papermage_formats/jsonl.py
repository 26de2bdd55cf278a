"""The reader ``jsonl``: one document a line, in papermage's JSON."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import ClassVar

import attrs

from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_core.files import open_bytes
from papermage_core.plugin import DocumentReaderConfig, LocatedDocument, hookimpl, option
from papermage_formats.records import read_records

__all__ = ["JsonlReader", "JsonlReaderConfig", "papermage_document_reader"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OPENINGS = (b"{", b"[")


@attrs.frozen(kw_only=True)
class JsonlReaderConfig(DocumentReaderConfig):
    """Options of the reader ``jsonl``."""

    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".jsonl.gz", ".jsonl.zst")

    lenient: bool = option(True, help="let pages that end after the text, boxes over the edge and empty spans pass")

    def build(self) -> JsonlReader:
        """Return a new reader."""
        return JsonlReader(lenient=self.lenient)


class JsonlReader:
    """Reads one document a line; blank lines and a byte order mark are passed over.

    A file that holds one document over many lines is read too.
    """

    suffixes = JsonlReaderConfig.suffixes

    def __init__(self, *, lenient: bool = True) -> None:
        self.lenient = lenient

    def read(
        self, path: Path, on_error: Callable[[DataError], None] | None = None, first: int = 0, every: int = 1
    ) -> Generator[LocatedDocument, None, int]:
        """Yield the documents of a file with line and byte. Raises DataError with path and line."""
        return read_records(_lines(path), self._document, path, on_error, first, every)

    def _document(self, data: bytes) -> Document:
        try:
            return Document.from_bytes(data, lenient=self.lenient)
        except DataError as exc:
            if exc.layer is None and data.startswith((b"{\n", b"[\n")):
                message = f"{exc.message}; this looks like JSON over many lines: write one document a line"
                raise exc.replace(message=message) from exc
            raise


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield the lines that hold something, with number and byte; the whole file if its first line only opens JSON."""
    number = byte = found = 0
    try:
        with open_bytes(path) as handle:
            for number, line in enumerate(handle, 1):
                mark = len(_BYTE_ORDER_MARK) if number == 1 and line.startswith(_BYTE_ORDER_MARK) else 0
                data = line[mark:] if mark else line
                if not data or data.isspace():
                    byte += len(line)
                    continue
                if not found and len(data) < 16 and data.strip() in _OPENINGS:
                    data = data.strip() + b"\n" + handle.read()
                yield number, byte + mark, data
                byte += len(line)
                found += 1
    except _damage() as exc:
        raise DataError(f"cannot be read any further: {exc}", line=number + 1) from exc
    if not found:
        raise DataError("this file holds no document", expected="one document a line")


def _damage() -> tuple[type[Exception], ...]:
    """Return what reading a damaged file raises; of zstandard only where it is in use."""
    zstandard = sys.modules.get("zstandard")
    return (EOFError, OSError, zlib.error, *(() if zstandard is None else (zstandard.ZstdError,)))


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return JsonlReaderConfig

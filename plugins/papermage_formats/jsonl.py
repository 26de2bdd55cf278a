"""The reader and the writer ``jsonl``: one document a line, in papermage's JSON."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import IO, ClassVar

import attrs

from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_core.files import Lines, kind_of_file, open_bytes
from papermage_core.plugin import DocumentReaderConfig, DocumentWriterConfig, LocatedDocument, hookimpl, option
from papermage_formats.records import read_records

__all__ = [
    "JsonlReader",
    "JsonlReaderConfig",
    "JsonlWriter",
    "JsonlWriterConfig",
    "papermage_document_reader",
    "papermage_document_writer",
]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OPENINGS = (b"{", b"[")


@attrs.frozen(kw_only=True)
class JsonlReaderConfig(DocumentReaderConfig):
    """Options of the reader ``jsonl``."""

    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)
    shared_suffixes: ClassVar[tuple[str, ...]] = (".json",)
    compressed: ClassVar[bool] = True

    lenient: bool = option(True, help="let pages that end after the text, boxes over the edge and empty spans pass")
    max_line_mb: int = option(1024, help="most MiB of a line, decompressed, that is read into memory", ge=1)

    @classmethod
    def recognises(cls, path: Path, head: bytes) -> bool:
        """Whether this is a document of papermage's, whose text is under ``symbols``."""
        return b'"symbols"' in head

    def build(self) -> JsonlReader:
        """Return a new reader."""
        return JsonlReader(lenient=self.lenient, max_line=self.max_line_mb << 20)


class JsonlReader:
    """Reads one document a line; blank lines and a byte order mark are passed over.

    A file that holds one document over many lines is read too.
    """

    def __init__(self, *, lenient: bool = True, max_line: int = 1 << 30) -> None:
        self.lenient = lenient
        self.max_line = max_line

    def read(
        self,
        path: Path,
        on_error: Callable[[DataError], None] | None = None,
        first: int = 0,
        every: int = 1,
        start: tuple[int, int] | None = None,
    ) -> Generator[LocatedDocument, None, int]:
        """Yield the documents of a file with line and byte. Raises DataError with path and line."""
        return read_records(_lines(path, self.max_line, start), self._document, path, on_error, first, every)

    def places(self, path: Path) -> Iterator[tuple[int, int]]:
        """Yield line and byte of each document."""
        return ((line, byte) for line, byte, _ in _lines(path, self.max_line))

    def _document(self, data: bytes | DataError) -> Document:
        if isinstance(data, DataError):
            raise data
        try:
            return Document.from_bytes(data, lenient=self.lenient)
        except DataError as exc:
            if isinstance(exc, KeyError) and b'"symbols"' not in data:
                raise exc.replace(advice="a file of another format is read by reader=NAME") from exc
            if exc.layer is None and data.startswith((b"{\n", b"[\n")):
                message = f"{exc.message}; this looks like JSON over many lines: write one document a line"
                raise exc.replace(message=message) from exc
            raise


def _lines(
    path: Path, limit: int, start: tuple[int, int] | None = None
) -> Iterator[tuple[int, int, bytes | DataError]]:
    """Yield number and byte of the lines that hold something, with the line, or why it cannot be read.

    A first line that only opens JSON comes with all that follows, unless that is objects a line each. What is no text
    at all is an error once. With ``start``, line and byte, those before it are passed over.
    """
    with open_bytes(path) as handle:
        found = start is not None and start[0] > 1
        if start is not None:
            handle.seek(start[1])
        lines = Lines(handle, limit, option="reader.max_line_mb", start=start or (1, 0))
        while data := _next(lines):
            byte = lines.start
            if isinstance(data, bytes):
                if lines.number == 1 and data.startswith(_BYTE_ORDER_MARK):
                    data, byte = data[len(_BYTE_ORDER_MARK) :], byte + len(_BYTE_ORDER_MARK)
                data = data.rstrip(b"\r\n")
                if not data or data.isspace():
                    continue
                if not found and (kind := kind_of_file(data)):
                    raise DataError(f"is {kind}", expected="one document a line")
                if not found and len(data) < 16 and data.strip() in _OPENINGS:
                    number, opening, following = lines.number, data.strip(), _after_blank(lines)
                    if isinstance(following, DataError):
                        raise DataError(f"this document, over many lines, is larger than {limit >> 20} MiB")
                    if opening == b"[" or not following.startswith(b"{"):
                        data = opening + b"\n" + following + handle.read(limit + 1)
                        if len(data) > limit:
                            raise DataError(f"this document, over many lines, is larger than {limit >> 20} MiB")
                        yield number, byte, data
                        return
                    yield number, byte, opening  # a line that was cut, before others
                    data, byte = following.rstrip(b"\r\n"), lines.start
            found = True
            yield lines.number, byte, data
    if not found:
        raise DataError("this file holds no document", expected="one document a line")


def _after_blank(lines: Lines) -> bytes | DataError:
    """Return the next line that holds something; nothing at the end."""
    data = _next(lines)
    while isinstance(data, bytes) and data.isspace():
        data = _next(lines)
    return b"" if data is None else data


def _next(lines: Lines) -> bytes | DataError | None:
    try:
        return next(lines, None)
    except DataError as exc:
        return exc
    except OSError as exc:
        raise DataError(f"cannot be read any further: {exc}", line=lines.number + 1) from exc


@attrs.frozen(kw_only=True)
class JsonlWriterConfig(DocumentWriterConfig):
    """Options of the writer ``jsonl``."""

    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)
    shared_suffixes: ClassVar[tuple[str, ...]] = (".json",)

    images: bool = option(True, help="write the pictures of the pages, where documents have them")

    def build(self) -> JsonlWriter:
        """Return a new writer."""
        return JsonlWriter(images=self.images)


class JsonlWriter:
    """Writes one document a line. Layers that nobody touched are written as they were read."""

    def __init__(self, *, images: bool = True) -> None:
        self.images = images

    def write(self, documents: Iterable[Document], target: IO[bytes], first: int | None = None) -> dict[str, int]:
        """Write the documents; return how many images were left out, if they were to be."""
        left_out = 0
        for document in documents:
            images = len(document.images or ())
            target.write(document.to_bytes(with_images=self.images and images > 0) + b"\n")
            left_out += 0 if self.images else images
        return {"images": left_out} if left_out else {}


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return JsonlReaderConfig


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return JsonlWriterConfig

"""The reader ``jsonl``: one document a line, in papermage's JSON."""

from __future__ import annotations

import logging
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

import attrs

from papermage_core.data.readers import open_bytes
from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_core.plugin import DocumentReaderConfig, hookimpl, option

__all__ = ["JsonlReader", "JsonlReaderConfig", "papermage_document_reader"]

_log = logging.getLogger(__name__)
OnError = Literal["stop", "skip", "collect"]
_OPENINGS = (b"{", b"[")


@attrs.frozen(kw_only=True)
class JsonlReaderConfig(DocumentReaderConfig):
    """Options of the reader ``jsonl``."""

    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".jsonl.gz", ".jsonl.zst")

    lenient: bool = option(True, help="let pages that end after the text, boxes over the edge and empty spans pass")
    on_error: OnError = option(
        "stop",
        help="at a broken document: stop; skip it, with a warning; or collect the fault for the caller",
        choices=("stop", "skip", "collect"),
    )

    def build(self) -> JsonlReader:
        """Return a new reader."""
        return JsonlReader(lenient=self.lenient, on_error=self.on_error)


class JsonlReader:
    """Reads one document a line; blank lines and a byte order mark are passed over.

    A file that holds one document over many lines is read too. `faults` lists what was skipped or collected.
    """

    suffixes = JsonlReaderConfig.suffixes

    def __init__(self, *, lenient: bool = True, on_error: OnError = "stop") -> None:
        self.lenient = lenient
        self.on_error: OnError = on_error
        self.faults: list[DataError] = []

    def read(self, path: Path) -> Iterator[Document]:
        """Yield the documents of a file. Raises DataError with path and line, unless faults are passed over."""
        for _, document in self.read_located(path):
            yield document

    def read_located(self, path: Path) -> Iterator[tuple[int, Document]]:
        """Yield pairs of line, counted from 1, and document."""
        number = 0
        try:
            for number, line in _lines(path):
                over_many_lines = line.strip() in _OPENINGS and str(path) != "-"
                try:
                    document = self._whole(path) if over_many_lines else self._document(line)
                except DataError as exc:
                    self._fault(_at(exc, path, number))
                else:
                    yield number, document
                if over_many_lines:
                    return
        except Exception as exc:
            if not isinstance(exc, _damage()):
                raise
            self._fault(DataError(f"cannot be read any further: {exc}", path=path, line=number + 1))
            return
        if not number:
            self._fault(DataError("this file holds no document", path=path, expected="one document a line"))

    def _document(self, line: bytes) -> Document:
        return Document.from_bytes(line, lenient=self.lenient)

    def _whole(self, path: Path) -> Document:
        """Return the document that a file holds over many lines."""
        with open_bytes(path) as handle:
            data = handle.read()
        try:
            return self._document(data)
        except DataError as exc:
            if exc.layer is None:
                exc.message += "; this looks like JSON over many lines: write one document a line"
            raise

    def _fault(self, fault: DataError) -> None:
        if self.on_error == "stop":
            raise fault
        if self.on_error == "skip":
            _log.warning("skipped: %s", fault)
        self.faults.append(fault)


def _at(fault: DataError, path: Path, line: int) -> DataError:
    fault.path, fault.line = path, line
    return fault


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that hold something, with their numbers."""
    with open_bytes(path) as handle:
        for number, line in enumerate(handle, 1):
            if number == 1 and line.startswith(b"\xef\xbb\xbf"):
                line = line[3:]
            if line.strip():
                yield number, line


def _damage() -> tuple[type[Exception], ...]:
    """Return what reading a damaged file raises; of zstandard only where it is in use."""
    zstandard = sys.modules.get("zstandard")
    return (EOFError, OSError, zlib.error, *(() if zstandard is None else (zstandard.ZstdError,)))


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return JsonlReaderConfig

"""The reader ``jsonl``: one document a line, in papermage's JSON."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

import attrs

from papermage_core.data.readers import open_bytes
from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_core.plugin.spec import DocumentReaderConfig, hookimpl, option

__all__ = ["JsonlReader", "JsonlReaderConfig", "papermage_document_reader"]

_log = logging.getLogger(__name__)
OnError = Literal["stop", "skip", "collect"]


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
        lines = 0
        for number, line in _lines(path):
            lines += 1
            try:
                document = Document.from_bytes(line, lenient=self.lenient)
            except DataError as exc:
                if lines == 1 and (whole := self._whole(path, number, line)) is not None:
                    yield number, whole
                    return
                self._fault(_at(exc, path, number))
            else:
                yield number, document
        if not lines:
            self._fault(DataError("this file holds no document", path=path, expected="one document a line"))

    def _whole(self, path: Path, number: int, first: bytes) -> Document | None:
        """Return the document that a file holds over many lines, or None for a file that is none such."""
        if str(path) == "-" or first.strip() not in (b"{", b"["):
            return None
        try:
            with open_bytes(path) as handle:
                return Document.from_bytes(handle.read(), lenient=self.lenient)
        except DataError as exc:
            several = " Is this one document over many lines? Write one document a line." if exc.layer is None else ""
            exc.message += several
            raise _at(exc, path, number) from exc

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
    number = 0
    try:
        with open_bytes(path) as handle:
            for number, line in enumerate(handle, 1):
                if number == 1 and line.startswith(b"\xef\xbb\xbf"):
                    line = line[3:]
                if line.strip():
                    yield number, line
    except (EOFError, OSError, zlib.error) as exc:
        raise DataError(f"cannot be read any further: {exc}", path=path, line=number + 1) from exc


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return JsonlReaderConfig

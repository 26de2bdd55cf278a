"""What readers of files of records share: places, errors that are passed over, shares of a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_core.plugin import LocatedDocument

__all__ = ["RecordReader", "chosen", "read_files", "read_records", "told_after"]

T = TypeVar("T")
Config = TypeVar("Config")


class RecordReader(ABC, Generic[Config]):
    """A reader of files of records, by its config: what they are, and the document that each makes."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def read(
        self, path: Path, on_error: Callable[[DataError], None] | None = None, first: int = 0, every: int = 1
    ) -> Generator[LocatedDocument, None, int]:
        """Yield the documents of a file. Raises DataError with path and line."""
        return read_records(self._records(path), self._document, path, on_error, first, every)

    @abstractmethod
    def _records(self, path: Path) -> Iterator[tuple[int | None, int | None, Any]]:
        """Yield line, byte and data of each record, as they are read."""

    @abstractmethod
    def _document(self, data: Any) -> Document:
        """Return the document of a record. Raises DataError."""


def read_records(
    records: Iterator[tuple[int | None, int | None, T]],
    decode: Callable[[T], Document],
    path: Path,
    on_error: Callable[[DataError], None] | None = None,
    first: int = 0,
    every: int = 1,
) -> Generator[LocatedDocument, None, int]:
    """Yield the documents that ``decode`` makes of the chosen records; return how many records there are.

    A record is its line, its byte and its data. What ``records`` raises as DataError ends the file, and counts as a
    record. See `papermage_core.plugin.DocumentReader.read`.
    """
    count = 0
    while True:
        wanted = chosen(count, first, every)
        line = None
        try:
            record = next(records, None)
            if record is None:
                return count
            line, byte, data = record
            document = decode(data) if wanted else None
        except DataError as exc:
            error = exc.replace(path=path, line=line if exc.line is None else exc.line)
            if on_error is None:
                raise error from exc
            if wanted:
                on_error(error)
        else:
            if document is not None:
                yield LocatedDocument(document, path, line, byte)
        count += 1


def read_files(
    files: Iterator[tuple[T, Path]],
    read: Callable[[T, Path, int, int], Generator[LocatedDocument, None, int]],
    path: Path,
    on_error: Callable[[DataError], None] | None = None,
    first: int = 0,
    every: int = 1,
) -> Generator[LocatedDocument, None, int]:
    """Yield the documents of all files that one file, ``path``, stands for; return how many there are.

    ``read`` is given what stands before each file, the file, and its first document and every how many to read.
    """
    count = 0
    while True:
        try:
            given, file = next(files)
        except StopIteration:
            return count
        except DataError as exc:
            error = exc.replace(path=path)
            if on_error is None:
                raise error from exc
            if chosen(count, first, every):
                on_error(error)
            return count + 1
        count += yield from read(given, file, first - count if count < first else (first - count) % every, every)


def told_after(
    documents: Generator[LocatedDocument, None, int], tell: Callable[[], None]
) -> Generator[LocatedDocument, None, int]:
    """Yield the documents of a file, and tell what was seen when they are read."""
    count = yield from documents
    tell()
    return count


def chosen(number: int, first: int, every: int) -> bool:
    """Whether document ``number`` is one of ``first``, ``first + every``, …

    >>> [number for number in range(8) if chosen(number, 1, 3)]
    [1, 4, 7]
    """
    return number >= first and (number - first) % every == 0

"""What readers of files of records share: places, errors that are passed over, shares of a file."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TypeVar

from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_core.plugin import LocatedDocument

__all__ = ["chosen", "read_records"]

T = TypeVar("T")


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


def chosen(number: int, first: int, every: int) -> bool:
    """Whether document ``number`` is one of ``first``, ``first + every``, …

    >>> [number for number in range(8) if chosen(number, 1, 3)]
    [1, 4, 7]
    """
    return number >= first and (number - first) % every == 0

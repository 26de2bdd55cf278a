"""Documents of a large JSON Lines file by their number, read from where they stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, overload

import numpy as np

from papermage_core.document.document import Document
from papermage_core.errors import DataError
from papermage_core.files import compression

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DocumentFile"]

_BLOCK = 1 << 20


class DocumentFile(Sequence[Document]):
    """The documents of an uncompressed JSON Lines file, each read when it is asked for.

    Opening it looks through the file once for line ends; kept are 16 bytes a document. Blank lines do not count.
    Can be sent to worker processes. Raises DataError for a file that cannot be read or that is compressed.
    """

    def __init__(self, path: str | Path, *, lenient: bool = True) -> None:
        self.path = Path(path)
        self.lenient = lenient
        if compression(self.path):
            raise DataError(
                "documents of a compressed file cannot be read one by one; decompress it first",
                path=path,
                expected="an uncompressed .jsonl file",
            )
        try:
            self._starts, self._lines = _line_starts(self.path)
        except OSError as exc:
            raise DataError(f"cannot read this file: {exc.strerror or exc}", path=path) from exc

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> list[Document]: ...
    def __getitem__(self, index: int | slice) -> Document | list[Document]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        data = self.read_bytes(index)
        try:
            return Document.from_bytes(data, lenient=self.lenient)
        except DataError as exc:
            raise exc.replace(path=self.path, line=self.line(index)) from exc

    def __iter__(self) -> Iterator[Document]:
        return (self[i] for i in range(len(self)))

    def line(self, index: int) -> int:
        """Return the line of a document, counted from 1, blank lines included."""
        return int(self._lines[index]) + 1

    def read_bytes(self, index: int) -> bytes:
        """Return a document's JSON. Raises IndexError."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"document {index} of {len(self)}")
        line = self._lines[index]
        start, stop = int(self._starts[line]), int(self._starts[line + 1])
        try:
            with self.path.open("rb") as handle:
                handle.seek(start)
                return handle.read(stop - start)
        except OSError as exc:
            raise DataError(f"cannot read this file: {exc.strerror or exc}", path=self.path) from exc


def _line_starts(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the lines of a file start, and last where it ends; and which of them are not blank."""
    bounds, firsts = [np.zeros(1, np.int64)], []
    pending = bounds[0]
    offset = 0
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            values = np.frombuffer(block, np.uint8)
            starts = np.flatnonzero(values == ord("\n")) + (offset + 1)
            bounds.append(starts)
            starts = np.append(pending, starts)
            inside = starts < offset + len(block)
            firsts.append(values[starts[inside] - offset])
            pending = starts[~inside]
            offset += len(block)
        found = np.concatenate(bounds)
        if found[-1] != offset:
            found = np.append(found, offset)
        may_be_blank = np.flatnonzero(_MAY_BE_BLANK[np.concatenate([*firsts, np.zeros(0, np.uint8)])])
        blank = [line for line in may_be_blank.tolist() if not _line(handle, found, line).strip(_NOTHING)]
    return found, np.delete(np.arange(len(found) - 1), blank)


_NOTHING = b" \t\r\n\xef\xbb\xbf"
_MAY_BE_BLANK = np.isin(np.arange(256), list(_NOTHING))


def _line(handle: IO[bytes], bounds: NDArray[np.int64], line: int) -> bytes:
    handle.seek(int(bounds[line]))
    return handle.read(int(bounds[line + 1] - bounds[line]))

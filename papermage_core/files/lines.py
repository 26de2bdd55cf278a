"""The lines of a file, none longer than memory can take."""

from __future__ import annotations

from typing import IO

from papermage_core.errors import DataError

__all__ = ["Lines"]

_BLOCK = 1 << 20


class Lines:
    r"""Yields the lines of a file, as iterating over it does; one longer than ``limit`` bytes raises DataError.

    Whoever catches that and asks for the next line gets the one after it. `number` and `start` are those of the line
    given last.

    >>> import io
    >>> lines = Lines(io.BytesIO(b"one\n\nthree"), limit=100)
    >>> [(lines.number, lines.start, line) for line in lines]
    [(1, 0, b'one\n'), (2, 4, b'\n'), (3, 5, b'three')]
    """

    def __init__(
        self, file: IO[bytes], limit: int, *, option: str | None = None, start: tuple[int, int] = (1, 0)
    ) -> None:
        """``start`` is the number of the line that comes first, and how many bytes of the file are before it."""
        self._file = file
        self._limit = limit
        self._option = option
        self._stop = start[1]
        self._within = False
        self.number = start[0] - 1
        """Of the line, counted from 1."""
        self.start = start[1]
        """How many bytes are before the line."""

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> bytes:
        while self._within:
            self._pass(self._file.readline(_BLOCK))
        line = self._file.readline(self._limit + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self.start = self._stop
        self._pass(line)
        if len(line) > self._limit:
            raise DataError(self._problem(), line=self.number, expected="one document a line")
        return line

    def _pass(self, part: bytes) -> None:
        self._stop += len(part)
        self._within = len(part) > 0 and not part.endswith(b"\n")

    def _problem(self) -> str:
        allowed = f"this line has more than {self._limit / (1 << 20):g} MiB, which is the limit"
        return allowed if self._option is None else f"{allowed}; type {self._option}=... for a larger one"

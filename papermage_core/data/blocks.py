"""The documents of many files, cut into blocks: what is read, predicted and written at a time.

Where a block ends is told by the files alone, so a job has the same blocks whoever runs it, and however often it is
stopped in between.
"""

from __future__ import annotations

import inspect
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path

import attrs

from papermage_core.config.readers import ReaderChoice
from papermage_core.data.readers import Place, file_head, needing, read_file
from papermage_core.errors import DataError
from papermage_core.files import compression
from papermage_core.plugin.blame import built
from papermage_core.plugin.spec import DocumentReader, LocatedDocument

__all__ = ["Block", "BlockReader", "Piece", "Plan"]

_BYTES = 2_000_000
"""Of input, after which a block ends: two hundred abstracts with their tokens, or some papers."""
_WHOLE_FILE = 4
"""How often the bytes of a file count that is one document, such as a paper: it takes longer than as much of others."""
_DOCUMENTS = 256
"""Most documents of a block, however short they are."""
_NONE = 1 << 62
"""The number of a document that no file has."""
_AHEAD = 100_000
"""Most blocks that are known ahead."""


@attrs.frozen
class Piece:
    """Documents of one file that follow each other."""

    path: Path
    first: int
    """The number of the first one in its file, from 0."""
    count: int
    """How many there are, those that cannot be read included."""
    start: Place | None = None
    """Where the first one begins, where reading can begin there."""


@attrs.frozen
class Block:
    """Documents that follow each other, of one file or several."""

    index: int
    first: int
    """The number of the first one among all documents, from 0."""
    pieces: tuple[Piece, ...]
    size: float
    """How many bytes of the files they are, or about."""

    @property
    def count(self) -> int:
        """How many documents it has, those that cannot be read included."""
        return sum(piece.count for piece in self.pieces)

    def __str__(self) -> str:
        """Return where it is: ``documents 512 to 767, a.jsonl``."""
        paths = list(dict.fromkeys(str(piece.path) for piece in self.pieces))
        more = f" to {paths[-1]}" if len(paths) > 1 else ""
        return f"documents {self.first} to {self.first + self.count - 1}, {paths[0]}{more}"


class Plan:
    """The blocks of files, in order; looking ahead tells how many documents there are.

    With ``every``, of which a process takes one document each, blocks are so much larger.
    """

    def __init__(self, files: Sequence[Path], choice: ReaderChoice, every: int = 1) -> None:
        self._blocks = _blocks(files, choice, every)
        self._ahead: deque[Block] = deque()
        self._documents = 0
        self._is_known = False

    @property
    def documents(self) -> int | None:
        """How many documents there are; None while that is not known."""
        return self._documents if self._is_known else None

    def __iter__(self) -> Iterator[Block]:
        while (block := self.take()) is not None:
            yield block

    def take(self) -> Block | None:
        """Return the next block; None after the last."""
        if not self._ahead and not self._is_known:
            self._find()
        return self._ahead.popleft() if self._ahead else None

    def has(self, blocks: int) -> bool:
        """Return whether there are so many more blocks at least."""
        while not self._is_known and len(self._ahead) < blocks:
            self._find()
        return len(self._ahead) >= blocks

    def look_ahead(self, seconds: float) -> None:
        """Find further blocks for so long."""
        stop = time.monotonic() + seconds
        while not self._is_known and len(self._ahead) < _AHEAD and time.monotonic() < stop:
            self._find()

    def _find(self) -> None:
        block = next(self._blocks, None)
        if block is None:
            self._is_known = True
        else:
            self._documents += block.count
            self._ahead.append(block)


def _blocks(files: Sequence[Path], choice: ReaderChoice, every: int) -> Iterator[Block]:
    pieces: list[Piece] = []
    index = first = count = 0
    size = filled = 0.0
    for path in files:
        for number, (place, weight, is_whole) in enumerate(_documents(path, choice)):
            if number and pieces:  # of this file, as the last one was
                pieces[-1] = attrs.evolve(pieces[-1], count=pieces[-1].count + 1)
            else:
                pieces.append(Piece(path, number, 1, place if number else None))
            count, size = count + 1, size + weight
            filled += weight * (_WHOLE_FILE if is_whole else 1)
            if filled >= every * _BYTES or count >= every * _DOCUMENTS:
                yield Block(index, first, tuple(pieces), size)
                index, first, pieces, count, size, filled = index + 1, first + count, [], 0, 0.0, 0.0
    if pieces:
        yield Block(index, first, tuple(pieces), size)


def _documents(path: Path, choice: ReaderChoice) -> Iterator[tuple[Place | None, float, bool]]:
    """Yield for each document of a file where it begins, if reading can begin there, its bytes, and if it is all of it.

    A file that cannot be read is one document: whoever reads it finds out why.
    """
    size = path.stat().st_size if path.is_file() else 0
    try:
        config = choice.config_for(path, file_head)
        with needing(path, config):
            reader = built(config)
            places = None if compression(path) else _places(path, reader)
            if places is None:
                count = _count(path, reader)
                yield from ((None, size / count, count == 1) for _ in range(count))
            else:
                yield from ((*each, False) for each in _weighed(places, size))
    except DataError:
        yield None, float(size), True


def _places(path: Path, reader: DocumentReader) -> Callable[[], Iterator[Place]] | None:
    places = getattr(reader, "places", None)
    if places is None or "start" not in inspect.signature(reader.read).parameters:
        return None
    return partial(places, path)


def _weighed(places: Callable[[], Iterator[Place]], size: int) -> Iterator[tuple[Place, float]]:
    """Yield the places, each with the bytes up to the next; with its share of all where bytes are not known."""
    last: Place | None = None
    for place in places():
        if place[1] is None:
            count = sum(1 for _ in places())
            yield from ((each, size / count) for each in places())
            return
        if last is not None:
            yield last, float(place[1] - (last[1] or 0))
        last = place
    if last is None:
        raise DataError("holds no document")
    yield last, float(size - (last[1] or 0))


def _count(path: Path, reader: DocumentReader) -> int:
    """Return how many documents a file has, those that cannot be read included; at least one, which fails."""
    errors: list[DataError] = []
    count = _exhausted(read_file(path, reader, lambda: "", errors.append, _NONE, 1))[1]
    if errors:  # it ends where it is damaged, before it was said how many there are
        errors.clear()
        count = _exhausted(read_file(path, reader, lambda: "", errors.append, 0, 1))[0] + len(errors)
    return max(1, count)


def _exhausted(documents: Generator[LocatedDocument, None, int]) -> tuple[int, int]:
    """Return how many documents come, and what the generator returns."""
    count = 0
    while True:
        try:
            next(documents)
            count += 1
        except StopIteration as done:
            return count, int(done.value)


class BlockReader:
    """Reads blocks. With ``every``, only each ``every``-th document is given, from number ``first`` on."""

    def __init__(self, choice: ReaderChoice, first: int = 0, every: int = 1) -> None:
        self._choice, self._first, self._every = choice, first, every
        self._stream: _Stream | None = None

    def read(self, block: Block, skipping: bool = False) -> Iterator[tuple[int, LocatedDocument | DataError]]:
        """Yield the documents, each with its number among all of the job; while ``skipping``, errors in their places.

        Else what cannot be read raises DataError.
        """
        begin = block.first
        for piece in block.pieces:
            ahead = max(self._first - begin, (self._first - begin) % self._every)
            if ahead < piece.count:
                for number, found in self._piece(piece, ahead, skipping):
                    yield begin + number - piece.first, found
            begin += piece.count

    def _piece(self, piece: Piece, ahead: int, skipping: bool) -> Iterator[tuple[int, LocatedDocument | DataError]]:
        number = piece.first + ahead
        stream = self._stream
        if stream is None or not stream.leads_to(piece.path, number, skipping) or piece.start is not None:
            try:
                stream = _Stream(self._choice, piece, ahead, self._every, skipping)
            except DataError as error:
                if not skipping:
                    raise
                yield number, error
                return
        self._stream = stream
        yield from stream.until(piece.first + piece.count, number)


class _Stream:
    """The documents of a file, from one on, with their numbers in it; errors among them."""

    def __init__(self, choice: ReaderChoice, piece: Piece, ahead: int, every: int, skipping: bool) -> None:
        self._path, self._every, self._skipping = piece.path, every, skipping
        self._next = piece.first + ahead
        self._items: deque[tuple[int, LocatedDocument | DataError]] = deque()
        self._config = choice.config_for(piece.path, file_head)
        with needing(piece.path, self._config):
            self._documents = read_file(
                piece.path,
                built(self._config),
                partial(choice.advice, piece.path),
                self._failed if skipping else None,
                self._next if piece.start is None else ahead,
                every,
                piece.start,
            )

    def leads_to(self, path: Path, number: int, skipping: bool) -> bool:
        """Whether a document of a file is still to come."""
        next_one = self._items[0][0] if self._items else self._next
        return (path, skipping) == (self._path, self._skipping) and next_one <= number

    def until(self, stop: int, begin: int) -> Iterator[tuple[int, LocatedDocument | DataError]]:
        """Yield what comes before number ``stop``, from number ``begin`` on."""
        while self._items or self._next < stop:
            if not self._items and not self._fill():
                if stop > 1:  # else there may be none, and nobody to say so
                    raise DataError("this file has fewer documents than when the job began", path=self._path)
                return
            if self._items[0][0] >= stop:
                return
            number, found = self._items.popleft()
            if number >= begin:
                yield number, found

    def _fill(self) -> bool:
        with needing(self._path, self._config):
            found = next(self._documents, None)
        if found is not None:
            self._add(found)
        return bool(self._items)

    def _failed(self, error: DataError) -> None:
        self._add(error)

    def _add(self, found: LocatedDocument | DataError) -> None:
        self._items.append((self._next, found))
        self._next += self._every

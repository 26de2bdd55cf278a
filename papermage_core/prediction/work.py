"""A block of documents → bytes of the output: what one process of a job does, whichever process it is."""

from __future__ import annotations

import gc
import io
import json
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import IO, Any

import attrs

from papermage_core.config.processors import ProcessorChoice
from papermage_core.config.readers import ReaderChoice
from papermage_core.data.blocks import Block, BlockReader
from papermage_core.data.garbage import collecting, release_free_memory
from papermage_core.data.processors import processed
from papermage_core.data.writers import writing
from papermage_core.document import Document
from papermage_core.errors import DataError, PapermageError
from papermage_core.plugin.blame import built
from papermage_core.plugin.spec import DocumentWriterConfig, LocatedDocument
from papermage_core.prediction.annotators import Annotator, Seen

__all__ = ["BlockWorker", "Done", "Work", "error_line"]

_CHARACTERS = 4_000_000
"""Of documents, after which garbage is collected."""


@attrs.frozen
class Done:
    """What came of a block."""

    index: int
    documents: int
    """How many are written."""
    units: int
    losses: dict[str, int]
    errors: list[bytes]
    """A line of JSON for each document that could not be used."""
    lengths: list[int]
    """Number and bytes of each document, one after the other."""


@attrs.frozen(kw_only=True)
class Work:
    """What is done with blocks; can be sent to another process."""

    reader: ReaderChoice
    processors: ProcessorChoice = attrs.field(factory=ProcessorChoice)
    writer: DocumentWriterConfig | None = None
    """A writer of files that may be written bit by bit; None: documents are written as JSON Lines."""
    skipping: bool = False
    """Whether documents that cannot be used are passed over."""
    first: int = 0
    every: int = 1


class BlockWorker:
    """Does the work on blocks, one after the other."""

    def __init__(self, work: Work, annotator: Annotator) -> None:
        self._work, self._annotator = work, annotator
        self._reader = BlockReader(work.reader, work.first, work.every)
        self._writer: Any = None if work.writer is None else built(work.writer)  # its write takes first, too
        self._characters = 0

    def run(self, block: Block, target: IO[bytes], tick: Callable[[], None] | None = None) -> Done:
        """Write the documents of a block at the end of a file; ``tick`` is called after each document.

        A document that cannot be used raises DataError, unless such are passed over; then its neighbours are the same
        as without it.
        """
        begin = target.tell()
        pass_ = _Pass(self._work.skipping, block)
        try:
            documents = self._annotator.annotate(self._processed(self._located(pass_)), pass_.on_error)
            for document in documents:
                self._write(document, pass_, target, tick)
        except Exception as exc:
            if not self._work.skipping or not _is_of_a_document(exc):
                raise
            target.seek(begin)
            target.truncate()
            pass_ = self._one_by_one(block, target, tick)
        return pass_.done()

    def seen(self) -> Seen:
        """Return what was odd in the documents so far."""
        return self._annotator.seen()

    def _located(self, pass_: _Pass) -> Iterator[LocatedDocument]:
        found = self._reader.read(pass_.block, self._work.skipping)
        return collecting(pass_.given(found), lambda located: len(located.document.symbols or ""))

    def _processed(self, located: Iterator[LocatedDocument]) -> Iterator[LocatedDocument]:
        return processed(located, self._work.processors) if self._work.processors.names else located

    def _one_by_one(self, block: Block, target: IO[bytes], tick: Callable[[], None] | None) -> _Pass:
        """Do it again, each document alone: so it is found out which one it is that fails."""
        pass_ = _Pass(True, block)
        for located in self._located(pass_):
            try:
                alone = self._processed(iter([located]))
                for document in self._annotator.annotate(alone, pass_.on_error):
                    self._write(document, pass_, target, tick)
            except Exception as exc:
                if not _is_of_a_document(exc):
                    raise
                error = exc if isinstance(exc, DataError) else DataError(f"{type(exc).__name__}: {exc}")
                pass_.failed(error if error.path is not None else located.error(error))
        return pass_

    def _write(self, document: Document, pass_: _Pass, target: IO[bytes], tick: Callable[[], None] | None) -> None:
        number, located = pass_.taken(document)
        try:
            content, losses = self._content(document, number)
        except DataError as error:
            error = error if error.path is not None else located.error(error)
            if not self._work.skipping:
                raise error from None
            pass_.errors.append((number, error))
            return
        target.write(content)
        pass_.add(number, len(content), self._annotator.units(document), losses)
        self._characters += len(document.symbols or "")
        if self._characters > _CHARACTERS:
            del document, located
            gc.collect()
            release_free_memory()
            self._characters = 0
        if tick is not None:
            tick()

    def _content(self, document: Document, number: int) -> tuple[bytes | memoryview, dict[str, int]]:
        if self._writer is None:
            return document.to_bytes(with_images=bool(document.images)) + b"\n", {}
        file = io.BytesIO()
        with writing(self._writer):
            losses = self._writer.write([document], file, first=number)
        return file.getbuffer(), losses


class _Pass:
    """Where the work on a block is."""

    def __init__(self, skipping: bool, block: Block) -> None:
        self.block = block
        self.errors: list[tuple[int, DataError]] = []
        self.on_error = self.failed if skipping else None
        self._waiting: deque[tuple[int, LocatedDocument]] = deque()
        self._lengths: list[int] = []
        self._units = 0
        self._losses: Counter[str] = Counter()

    def given(self, found: Iterator[tuple[int, LocatedDocument | DataError]]) -> Iterator[LocatedDocument]:
        """Yield what could be read, and keep it in mind."""
        for number, each in found:
            if isinstance(each, DataError):
                self.errors.append((number, each))
            else:
                self._waiting.append((number, each))
                yield each

    def taken(self, document: Document) -> tuple[int, LocatedDocument]:
        """Return number and place of a document that comes out; those before it do not come any more."""
        while True:
            number, located = self._waiting.popleft()
            if located.document is document:
                return number, located

    def failed(self, error: DataError) -> None:
        """Keep an error, with the number of the document that it is of."""
        of_it = (number for number, each in self._waiting if _is_of(error, each))
        self.errors.append((next(of_it, self.block.first), error))

    def add(self, number: int, length: int, units: int, losses: dict[str, int]) -> None:
        """Count a document that is written."""
        self._lengths += (number, length)
        self._units += units
        self._losses.update(losses)

    def done(self) -> Done:
        """Return what came of it."""
        lines = [error_line(number, error) for number, error in sorted(self.errors, key=lambda each: each[0])]
        losses = dict(self._losses)
        return Done(self.block.index, len(self._lengths) // 2, self._units, losses, lines, self._lengths)


def _is_of(error: DataError, located: LocatedDocument) -> bool:
    where = (located.path, located.line) == (error.path, error.line)
    return where and error.document in (None, located.document.id, "(unnamed)")


def _is_of_a_document(exc: Exception) -> bool:
    """Whether it may be a document's fault, and so others can do without it."""
    if isinstance(exc, PapermageError):
        return isinstance(exc, DataError)
    return not isinstance(exc, (OSError, MemoryError)) and type(exc).__name__ != "OutOfMemoryError"


def error_line(number: int, error: DataError) -> bytes:
    """Return a line of JSON: file, line and document of what could not be used, and the reason."""
    said: dict[str, Any] = {
        "file": None if error.path is None else str(error.path),
        "line": error.line,
        "document": error.document,
        "page": None if error.page is None else error.page + 1,
        "stage": error.stage,
        "layer": error.layer,
        "entity": error.entity,
    }
    kept = {key: value for key, value in said.items() if value is not None or key in ("file", "line", "document")}
    line = json.dumps({"number": number, **kept, "reason": error.message}, ensure_ascii=False, default=str)
    return f"{line}\n".encode("utf-8", "backslashreplace")

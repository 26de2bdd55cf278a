"""Documents in, files or folders out."""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import attrs

from papermage_core.config.booleans import booleans_only
from papermage_core.config.writers import writer_for
from papermage_core.data.readers import none_usable
from papermage_core.errors import DataError, PluginError, counted
from papermage_core.files import check_output, open_output, whole_folder
from papermage_core.plugin.blame import Given, built, calling
from papermage_core.plugin.spec import DocumentWriterConfig, LocatedDocument

if TYPE_CHECKING:
    from papermage_core.document import Document
    from papermage_core.plugin.manager import Plugins

__all__ = ["Written", "listed", "write_alone", "write_documents", "writing"]

_log = logging.getLogger(__name__)


@attrs.frozen
class Written:
    """What came of writing documents."""

    documents: int
    losses: Mapping[str, int]
    """What the format could not hold: kind → how much. Empty where nothing was lost."""

    def __str__(self) -> str:
        """Return a line: ``12 documents; the format cannot hold 3 boxes``."""
        count = counted(self.documents, "documents")
        return f"{count}; the format cannot hold {listed(self.losses)}" if self.losses else count


def listed(losses: Mapping[str, int]) -> str:
    """Return what was lost in words.

    >>> listed({"boxes": 12, "overlapping entities": 1})
    '12 boxes, 1 overlapping entity'
    """
    return ", ".join(counted(count, kind) for kind, count in losses.items())


@booleans_only
def write_documents(
    documents: Iterable[Document | LocatedDocument],
    path: str | Path,
    writer: str | DocumentWriterConfig | None = None,
    plugins: Plugins | None = None,
    overwrite: bool = False,
    *,
    inputs: Sequence[str | Path] = (),
    options: Mapping[str, Any] | None = None,
    on_refused: Callable[[DataError], None] | None = None,
) -> Written:
    """Write documents to a file or folder, which appears whole or not at all, and return how many, and what was lost.

    The writer is the one named, with its ``options``, or that of the path's ending; ``-`` is standard output.
    Documents are written as they come, none is kept. What the format cannot hold is logged, too. Raises ConfigError for
    a place where nothing is written, such as one of the ``inputs``, and DataError for what is there already, unless it
    may be overwritten; and DataError for a document that the format cannot hold, unless ``on_refused`` takes the error:
    then each is first written alone, to see whether it can be, and left out if not.

    >>> from papermage_core import Document
    >>> write_documents([Document("A text.")], getfixture("tmp_path") / "a.jsonl")
    Written(documents=1, losses={})
    """
    config = writer if isinstance(writer, DocumentWriterConfig) else writer_for(Path(path), writer, options, plugins)
    folder = config.target == "folder"
    check_output(path, inputs=inputs, overwrite=overwrite, folder=folder)
    counted = _Counted(documents if on_refused is None else _held(documents, config, on_refused))
    target: AbstractContextManager[Any] = whole_folder(path) if folder else open_output(path)
    try:
        with target as place:
            wrote = built(config)
            given = Given(counted)
            with writing(wrote, given):
                losses = {kind: count for kind, count in wrote.write(given, place).items() if count}
    except ModuleNotFoundError as exc:
        missing = (exc.name or "").partition(".")[0]
        wanted = quote(config.requirement or missing)
        raise PluginError(f"{path}: writing it needs {missing}; type: pip install {wanted}") from exc
    if losses:
        _log.warning("%s: the format cannot hold %s", path, listed(losses))
    return Written(counted.count, losses)


def write_alone(document: Document, config: DocumentWriterConfig) -> None:
    """Write one document to where it is lost again. Raises DataError if the format cannot hold it."""
    writer = built(config)
    with tempfile.TemporaryDirectory() as folder, writing(writer):
        writer.write([document], io.BytesIO() if config.target == "file" else Path(folder))


def _held(
    documents: Iterable[Document | LocatedDocument],
    config: DocumentWriterConfig,
    on_refused: Callable[[DataError], None],
) -> Iterator[Document | LocatedDocument]:
    """Yield the documents that the format can hold. Raises DataError at the end if there were others alone."""
    refused, count = 0, 0
    for each in documents:
        try:
            write_alone(each.document if isinstance(each, LocatedDocument) else each, config)
        except DataError as error:
            refused += 1
            on_refused(each.error(error) if isinstance(each, LocatedDocument) else error)
        else:
            count += 1
            yield each
    if refused and not count:
        raise none_usable(refused)


@contextmanager
def writing(writer: Any, given: Given[Any] | None = None) -> Iterator[None]:
    """Put what is raised in the block down to a writer; DataError for a lone surrogate, which is the document's fault.

    Documents have such characters from names of files that are no UTF-8, or from whoever made them in Python.
    """
    try:
        with calling(writer, "write", given):
            yield
    except PluginError as error:
        cause = error.__cause__
        if not isinstance(cause, UnicodeEncodeError) or "surrogates" not in cause.reason:
            raise
        raise DataError(f"cannot be written: {cause}", expected="text without surrogates") from error


class _Counted:
    def __init__(self, documents: Iterable[Document | LocatedDocument]) -> None:
        self._documents = documents
        self.count = 0

    def __iter__(self) -> Iterator[Document]:
        for each in self._documents:
            self.count += 1
            yield each.document if isinstance(each, LocatedDocument) else each

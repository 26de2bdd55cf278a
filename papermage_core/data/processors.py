"""Documents with further layers: what processors make of them, with the places where they were read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, TypeVar

from papermage_core.config.processors import ProcessorChoice
from papermage_core.data.readers import AnyReader, OnError, at_least_one, iter_documents
from papermage_core.errors import DataError, PluginError, counted
from papermage_core.plugin.blame import Given, built, calling, component_of
from papermage_core.plugin.spec import DocumentProcessorConfig, LocatedDocument

if TYPE_CHECKING:
    from papermage_core.document import Document
    from papermage_core.plugin.manager import Plugins

__all__ = ["processed", "read_processed"]

Either = TypeVar("Either", "Document", LocatedDocument)


def read_processed(
    data_path: str | Path | Sequence[str | Path],
    reader: AnyReader,
    processors: ProcessorChoice | str | Sequence[str | DocumentProcessorConfig],
    plugins: Plugins | None,
    on_error: OnError | None,
) -> Iterator[LocatedDocument]:
    """Yield the documents of files, folders and globs with the layers that processors add, as `processed` does.

    Raises DataError at the end where ``on_error`` was told of errors, and no document came (see `at_least_one`).
    """

    def read(told: OnError | None) -> Iterator[LocatedDocument]:
        return processed(iter_documents(data_path, reader=reader, on_error=told), processors, plugins, told)

    return at_least_one(read, on_error)


def processed(
    documents: Iterable[Either],
    processors: ProcessorChoice | str | Sequence[str | DocumentProcessorConfig],
    plugins: Plugins | None = None,
    on_error: Callable[[DataError], None] | None = None,
) -> Iterator[Either]:
    """Yield the documents, in order and lazily, each with the layers that processors add.

    Processors are given by name, ``"tokens,sentences"``, or as configs. Documents that were read with their places
    keep them, and errors of processors have them. With ``on_error``, a document that a processor refuses is left out,
    and the error handed over. Raises PluginError for a processor that cannot be used, or that gives out other documents
    than it was given.

    >>> from papermage_core import Document
    >>> (document,) = processed([Document("It is rare. So is that.")], "tokens,sentences")
    >>> len(document.tokens), len(document.sentences)
    (8, 2)
    """
    configs = _configs(processors, plugins)
    if on_error is None:
        yield from _through(documents, configs, deque())
        return
    source = Given(documents)
    while True:
        given: deque[Either] = deque()
        try:
            yield from _through(source, configs, given)
            return
        except DataError:
            if source.raised is not None or not given:
                raise
        for each in given:  # which of them it is
            try:
                yield from _through([each], configs, deque())
            except DataError as error:
                on_error(error)


def _through(
    documents: Iterable[Either], configs: Sequence[DocumentProcessorConfig], given: deque[Either]
) -> Iterator[Either]:
    """Yield documents as processors give them out; those that they were given, and hold as yet, are in ``given``."""

    def alone() -> Iterator[Document]:
        for each in documents:
            given.append(each)
            yield each.document if isinstance(each, LocatedDocument) else each

    stream: Iterator[Document] = alone()
    for config in configs:
        stream = _stream(config, stream)
    try:
        for _ in stream:
            yield given.popleft()
    except DataError as exc:
        raise _with_place(exc, given) from exc


def _configs(
    processors: ProcessorChoice | str | Sequence[str | DocumentProcessorConfig], plugins: Plugins | None
) -> list[DocumentProcessorConfig]:
    if isinstance(processors, ProcessorChoice):
        return list(processors.configs)
    paths = plugins.paths if plugins is not None else ()
    parts = [name.strip() for name in processors.split(",")] if isinstance(processors, str) else processors
    found: list[DocumentProcessorConfig] = []
    for part in parts:
        found += ProcessorChoice(names=(part,), plugins_path=paths).configs if isinstance(part, str) else [part]
    return found


def _stream(config: DocumentProcessorConfig, documents: Iterator[Document]) -> Iterator[Document]:
    waiting: deque[tuple[Document, str | None]] = deque()
    called = f"the {component}" if (component := component_of(config)) else "a processor"

    def noted() -> Iterator[Document]:
        for document in documents:
            waiting.append((document, document.symbols))
            yield document

    given = Given(noted())
    try:
        processor = built(config)
        makes = _makes(config, called)
        with calling(processor, "process", given):
            for document in processor.process(given):
                before, symbols = waiting.popleft() if waiting else (None, None)
                if document is not before:
                    raise PluginError(f"{called} gave out other documents than it was given, or in another order")
                if wrong := _wrong(document, symbols, makes):
                    raise PluginError(f"{called} {wrong}")
                yield document
        if waiting:
            raise PluginError(f"{called} kept {len(waiting)} of the documents that it was given")
    except ModuleNotFoundError as exc:
        missing = (exc.name or "").partition(".")[0]
        wanted = quote(config.requirement or missing)
        raise PluginError(f"a processor needs {missing}; type: pip install {wanted}") from exc


def _makes(config: DocumentProcessorConfig, called: str) -> tuple[str, ...]:
    with calling(config, "makes"):
        makes: Any = config.makes
    if not isinstance(makes, (tuple, list)) or not all(isinstance(name, str) for name in makes):
        raise PluginError(f"{called} has makes = {makes!r:.100}; expected the names of layers, such as ('rows',)")
    return tuple(makes)


def _wrong(document: Document, symbols: str | None, makes: Sequence[str]) -> str:
    """Return what a processor did that none may do: change the text, or add what no document may hold."""
    if document.symbols is not symbols and document.symbols != symbols:
        return f"changed the text of document {document.id!r}; expected it to add layers alone"
    length = len(symbols or "")
    for name in filter(document.has_layer, makes):
        spans = document.get_layer(name).span_arrays()
        wrong = (spans.start < 0) | (spans.stop > length) | (spans.start > spans.stop)
        if wrong.any():
            place = f"{spans.start[wrong][0]} to {spans.stop[wrong][0]}"
            text = f"document {document.id!r}, whose text has {counted(length, 'characters')}"
            return f"added an entity of {name!r} at {place} to {text}"
    return ""


def _with_place(error: DataError, given: Iterable[Document | LocatedDocument]) -> DataError:
    """Return the error with the place of the document that it names; of the one that is next, if it names none."""
    if error.path is not None:
        return error
    located = [each for each in given if isinstance(each, LocatedDocument)]
    named = [each for each in located if error.document in (None, each.document.id)]
    return named[0].error(error) if named else error

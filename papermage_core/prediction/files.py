"""Documents of files and pipes → a stream of the same documents with the predicted layers, as they come."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from papermage_core.config.processors import ProcessorChoice
from papermage_core.data.processors import processed
from papermage_core.data.readers import AnyReader, OnError, at_least_one, expand_paths, iter_documents
from papermage_core.data.wanted import Wanted
from papermage_core.data.writers import write_documents
from papermage_core.document import Document
from papermage_core.errors import counted
from papermage_core.plugin.spec import DocumentWriterConfig
from papermage_core.prediction.annotators import Annotator

__all__ = ["stream_documents"]

_log = logging.getLogger(__name__)
_SECONDS_BETWEEN_NEWS = 10.0


def stream_documents(
    annotator: Annotator,
    data_path: Sequence[str],
    output_path: str,
    *,
    reader: AnyReader = None,
    processors: ProcessorChoice | None = None,
    writer: DocumentWriterConfig | None = None,
    first: int = 0,
    every: int = 1,
    on_error: OnError | None = None,
    on_refused: OnError | None = None,
    overwrite: bool = False,
) -> int:
    """Write every document with its predictions, in order, as it comes; return how many.

    A file appears when it is whole; what stood there before stays until then. ``first`` and ``every`` choose a share
    of the documents. Raises DataError for a document that cannot be used, or with ``on_error``, which takes such errors
    and passes over the document, where none of all can be; for a file that is there already, unless told to overwrite;
    and ConfigError for a place where nothing is written (see `write_documents`, for ``on_refused`` too). Between files,
    `predict_files` does more: it can be stopped.
    """
    start = time.monotonic()
    makes = [name for each in processors.configs for name in each.makes] if processors is not None else []
    wanted = None if writer is None else Wanted(writer, [*annotator.makes, *makes], annotator.labels)

    def annotated(told: OnError | None) -> Iterator[Document]:
        found = iter_documents(data_path, reader=reader, on_error=told, first=first, every=every)
        if wanted is not None:
            found = wanted.warn_at_first(found, output_path)
        return annotator.annotate(processed(found, processors or (), on_error=told), told)

    documents = annotated(on_error) if every > 1 else at_least_one(annotated, on_error)
    inputs: list[str | Path] = [*expand_paths(data_path, reader=reader), *data_path]
    news = _with_news(documents, start)
    written = write_documents(news, output_path, writer, overwrite=overwrite, inputs=inputs, on_refused=on_refused)
    for line in annotator.seen().lines():
        _log.warning("%s", line)
    _log.info("%s in %.1f s", counted(written.documents, "documents"), time.monotonic() - start)
    return written.documents


def _with_news(documents: Iterator[Any], start: float) -> Iterator[Any]:
    """Yield the documents, and say now and then how many there were."""
    news = start + _SECONDS_BETWEEN_NEWS
    for count, document in enumerate(documents, 1):
        yield document
        if time.monotonic() > news:
            _log.info("%s, %.1f a second", counted(count, "documents"), count / (time.monotonic() - start))
            news = time.monotonic() + _SECONDS_BETWEEN_NEWS

"""From a file of any format to one of any other."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from papermage_core.config.booleans import booleans_only
from papermage_core.config.processors import ProcessorChoice
from papermage_core.config.writers import writer_for
from papermage_core.data.processors import read_processed
from papermage_core.data.readers import AnyReader, OnError, expand_paths
from papermage_core.data.units import text_digest
from papermage_core.data.wanted import Wanted
from papermage_core.data.writers import Written, write_documents
from papermage_core.errors import counted
from papermage_core.plugin.spec import DocumentProcessorConfig, DocumentWriterConfig, LocatedDocument

if TYPE_CHECKING:
    from papermage_core.plugin.manager import Plugins

__all__ = ["convert"]

_log = logging.getLogger(__name__)


@booleans_only
def convert(
    data_path: str | Path | Sequence[str | Path],
    output_path: str | Path,
    *,
    reader: AnyReader = None,
    writer: str | DocumentWriterConfig | None = None,
    writer_options: Mapping[str, Any] | None = None,
    processors: ProcessorChoice | str | Sequence[str | DocumentProcessorConfig] = (),
    plugins: Plugins | None = None,
    on_error: OnError | None = None,
    on_refused: OnError | None = None,
    unique: bool = False,
    overwrite: bool = False,
) -> Written:
    """Write the documents of files, folders and globs to one file or folder (see `write_documents`).

    Reader and writer are those named, else those of the files' endings; processors add layers on the way (see
    `processed`). Never writes to what it reads. With ``on_error``, documents that cannot be used are passed over;
    DataError is raised where that leaves none. ``on_refused`` does so for those that the output's format cannot hold.
    ``unique`` leaves out documents whose text has been read before: what is corrected takes the place of what it was
    if its path comes first.
    """
    given = [data_path] if isinstance(data_path, (str, Path)) else data_path
    inputs = [*expand_paths(data_path, reader=reader), *given]
    config = writer
    if not isinstance(config, DocumentWriterConfig):
        config = writer_for(Path(output_path), config, writer_options, plugins)
    wanted = Wanted(config)
    documents = read_processed(data_path, reader, processors, plugins, on_error)
    documents = wanted.look_at_all(_unique(documents) if unique else documents)
    written = write_documents(documents, output_path, config, plugins, overwrite, inputs=inputs, on_refused=on_refused)
    if written.documents:
        wanted.warn_at_last(output_path)
    return written


def _unique(documents: Iterable[LocatedDocument]) -> Iterator[LocatedDocument]:
    """Yield the first document of each text, and say how many others there were."""
    seen: set[bytes] = set()
    left_out = 0
    for located in documents:
        digest = text_digest(located.document)
        if digest in seen:
            left_out += 1
        else:
            seen.add(digest)
            yield located
    if left_out:
        _log.info("%s the text of an earlier one: left out", counted(left_out, "documents", "have"))

"""From a file of any format to one of any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from papermage_core.config.booleans import booleans_only
from papermage_core.config.processors import ProcessorChoice
from papermage_core.config.writers import writer_for
from papermage_core.data.processors import read_processed
from papermage_core.data.readers import AnyReader, OnError, expand_paths
from papermage_core.data.wanted import Wanted
from papermage_core.data.writers import Written, write_documents
from papermage_core.plugin.spec import DocumentProcessorConfig, DocumentWriterConfig

if TYPE_CHECKING:
    from papermage_core.plugin.manager import Plugins

__all__ = ["convert"]


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
    overwrite: bool = False,
) -> Written:
    """Write the documents of files, folders and globs to one file or folder (see `write_documents`).

    Reader and writer are those named, else those of the files' endings; processors add layers on the way (see
    `processed`). Never writes to what it reads. With ``on_error``, documents that cannot be used are passed over;
    DataError is raised where that leaves none. ``on_refused`` does so for those that the output's format cannot hold.
    """

    given = [data_path] if isinstance(data_path, (str, Path)) else data_path
    inputs = [*expand_paths(data_path, reader=reader), *given]
    config = writer
    if not isinstance(config, DocumentWriterConfig):
        config = writer_for(Path(output_path), config, writer_options, plugins)
    wanted = Wanted(config)

    documents = wanted.look_at_all(read_processed(data_path, reader, processors, plugins, on_error))
    written = write_documents(documents, output_path, config, plugins, overwrite, inputs=inputs, on_refused=on_refused)
    if written.documents:
        wanted.warn_at_last(output_path)
    return written

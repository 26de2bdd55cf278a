"""Files of documents → files of the same documents, or of their records, with what a recipe finds."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from papermage_core.config.processors import ProcessorChoice
from papermage_core.data.processors import processed
from papermage_core.data.readers import AnyReader, OnError, expand_paths, iter_documents
from papermage_core.data.writers import write_documents
from papermage_core.files import check_output
from papermage_core.plugin.spec import DocumentWriterConfig
from papermage_core.prediction.files import with_news
from papermage_core.prediction.recipe import Recipe

__all__ = ["check_recipe_output", "run_recipe"]

_log = logging.getLogger(__name__)


def check_recipe_output(
    recipe: Recipe,
    output_path: str,
    data_path: Sequence[str],
    *,
    reader: AnyReader,
    overwrite: bool,
    writer: DocumentWriterConfig,
) -> None:
    """Raise as `check_output` does for a path where `run_recipe` must not write."""
    inputs = [*_inputs(recipe, data_path, reader)]
    check_output(output_path, inputs=inputs, overwrite=overwrite, folder=writer.target == "folder")


def _inputs(recipe: Recipe, data_path: Sequence[str], reader: AnyReader) -> Iterator[str | Path]:
    yield from expand_paths(data_path, reader=reader)
    yield from data_path
    yield recipe.config.path
    yield from (stage.config.predictor for stage in recipe.stages if stage.config.predictor is not None)


def run_recipe(
    recipe: Recipe,
    data_path: Sequence[str],
    output_path: str,
    *,
    reader: AnyReader = None,
    processors: ProcessorChoice | None = None,
    writer: DocumentWriterConfig | None = None,
    first: int = 0,
    every: int = 1,
    on_error: OnError | None = None,
    overwrite: bool = False,
    keep: bool = False,
) -> int:
    """Write the documents with what the stages find, in order; return how many.

    The file appears when it is whole. Errors are those of reading, of `Recipe.run` and of `write_documents`.
    """
    start = time.monotonic()
    found = iter_documents(data_path, reader=reader, on_error=on_error, first=first, every=every)
    documents = recipe.run(processed(found, processors or ()), on_error, overwrite=overwrite, keep=keep)
    inputs = [*_inputs(recipe, data_path, reader)]
    written = write_documents(with_news(documents, start), output_path, writer, overwrite=overwrite, inputs=inputs)
    for line in recipe.issue_lines():
        _log.warning("%s", line)
    _log.info("%d documents in %.1f s", written.documents, time.monotonic() - start)
    return written.documents

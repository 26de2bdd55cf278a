"""Files of documents → files of the same documents with the predicted layer."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from papermage_core.config.processors import ProcessorChoice
from papermage_core.data.processors import processed
from papermage_core.data.readers import AnyReader, OnError, expand_paths, iter_documents
from papermage_core.data.writers import write_documents
from papermage_core.document import Document, Entity
from papermage_core.errors import ConfigError, DataError
from papermage_core.files import check_output
from papermage_core.plugin.spec import DocumentWriterConfig, LocatedDocument
from papermage_core.prediction.predictor import EntityClassificationPredictor

__all__ = ["Layers", "annotate_files", "check_output_path", "with_news"]

_log = logging.getLogger(__name__)
_SECONDS_BETWEEN_NEWS = 10.0


@attrs.frozen(kw_only=True)
class Layers:
    """Where predictions go in a document."""

    name: str = "predictions"
    per_label: bool = False
    """Each label's entities in a layer of the label's name, in place of one layer for all."""
    overwrite: bool = False
    """Whether layers of these names, and a file that is there already, are replaced."""
    merge: bool = True
    min_score: float | None = None
    recall: float | None = None
    precision: float | None = None
    """What the checkpoint guarantees of the entities."""

    def names(self, predictor: EntityClassificationPredictor) -> tuple[str, ...]:
        """Return the layers that every document gets."""
        return predictor.labels if self.per_label else (self.name,)

    def check(self, predictor: EntityClassificationPredictor) -> None:
        """Raise ConfigError for names that no predicted layer can have."""
        for name in self.names(predictor):
            if not name.strip() or name in Document.SPECIAL_FIELDS:
                raise ConfigError(f"layer_name={name}: a layer cannot have this name")
            if name in (predictor.entity_name, predictor.context_name):
                raise ConfigError(f"layer_name={name}: this is the layer that is read; choose another name")
            if any(name in config.makes for config in predictor.blueprint.processors.configs):
                raise ConfigError(f"layer_name={name}: processors of the checkpoint make this layer; choose another")

    def annotate(self, document: Document, entities: list[Entity], predictor: EntityClassificationPredictor) -> None:
        """Put the entities in their layers, an empty one where there are none."""
        groups: dict[str, list[Entity]] = {name: [] for name in self.names(predictor)}
        for entity in entities:
            if not self.per_label:
                groups[self.name].append(entity)
            elif (label := _label(entity, self.merge)) is not None:
                groups[label].append(entity)
        for name, found in groups.items():
            if name in document.layers:
                document.remove_layer(name)
            document.annotate_layer(name, found)


def _label(entity: Entity, merge: bool) -> str | None:
    tag: str = entity.metadata.label
    return tag if merge else tag.partition("-")[2] or None


def check_output_path(
    output_path: str, data_path: Sequence[str], *more_inputs: str, reader: AnyReader, overwrite: bool
) -> None:
    """Raise as `check_output` does for a path where `annotate_files` must not write."""
    inputs: list[str | Path] = [*expand_paths(data_path, reader=reader), *data_path, *more_inputs]
    check_output(output_path, inputs=inputs, overwrite=overwrite)


def annotate_files(
    predictor: EntityClassificationPredictor,
    data_path: Sequence[str],
    output_path: str,
    *,
    reader: AnyReader = None,
    processors: ProcessorChoice | None = None,
    writer: DocumentWriterConfig | None = None,
    layers: Layers,
    first: int = 0,
    every: int = 1,
    on_error: OnError | None = None,
) -> int:
    """Write every document with its predictions, in order; return how many. Without a writer, as the ending says.

    The file appears when it is whole; what stood there before stays until then. ``first`` and ``every`` choose a share
    of the documents. Raises DataError for a document that has a layer of the name already or lacks one that is needed,
    unless ``on_error`` takes such errors and passes over the document; for a file that is there already, unless told to
    overwrite; and ConfigError for a place where nothing is written (see `write_documents`).
    """
    layers.check(predictor)
    found = iter_documents(data_path, reader=reader, on_error=on_error, first=first, every=every)
    located = processed(found, processors or ())
    inputs: list[str | Path] = [*expand_paths(data_path, reader=reader), *data_path]
    start = time.monotonic()
    annotated = with_news(_annotated(predictor, located, layers, on_error), start)
    written = write_documents(annotated, output_path, writer, overwrite=layers.overwrite, inputs=inputs)
    for line in predictor.issues.lines():
        _log.warning("%s", line)
    if (told := predictor.shift.warning()) is not None:
        _log.warning("%s", told)
    _log.info("%d documents in %.1f s", written.documents, time.monotonic() - start)
    return written.documents


def _annotated(
    predictor: EntityClassificationPredictor,
    located: Iterator[LocatedDocument],
    layers: Layers,
    on_error: OnError | None,
) -> Iterator[Document]:
    waiting: deque[LocatedDocument] = deque()

    def documents() -> Iterator[Document]:
        for each in located:
            if error := _taken(each, layers, predictor):
                handle(error)
            else:
                waiting.append(each)
                yield each.document

    def handle(error: DataError) -> None:
        if on_error is None:
            raise error
        on_error(error)

    def lacks_a_layer(document: Document, error: DataError) -> None:
        handle(waiting.pop().error(error))  # the last that was given

    found = predictor.predict_many(
        documents(),
        layers.merge,
        layers.min_score,
        lacks_a_layer,
        recall=layers.recall,
        precision=layers.precision,
    )
    for entities in found:
        document = waiting.popleft().document
        layers.annotate(document, entities, predictor)
        yield document


def with_news(documents: Iterator[Any], start: float) -> Iterator[Any]:
    """Yield the documents, and say now and then how many there were."""
    news = start + _SECONDS_BETWEEN_NEWS
    for count, document in enumerate(documents, 1):
        yield document
        if time.monotonic() > news:
            _log.info("%d documents, %.1f a second", count, count / (time.monotonic() - start))
            news = time.monotonic() + _SECONDS_BETWEEN_NEWS


def _taken(located: LocatedDocument, layers: Layers, predictor: EntityClassificationPredictor) -> DataError | None:
    names = [] if layers.overwrite else [name for name in layers.names(predictor) if name in located.document.layers]
    if not names:
        return None
    return located.error(f"there is a layer {names[0]!r} already: choose another layer_name, or type overwrite=true")

"""Files of documents → files of the same documents with the predicted layer."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence

import attrs

from papermage_core.config.processors import ProcessorChoice
from papermage_core.data.processors import processed
from papermage_core.data.readers import AnyReader, expand_paths, iter_documents
from papermage_core.document import Document, Entity
from papermage_core.errors import ConfigError, DataError
from papermage_core.files import check_output, open_output
from papermage_core.plugin.spec import LocatedDocument
from papermage_core.prediction.predictor import EntityClassificationPredictor

__all__ = ["Layers", "annotate_files", "check_output_path"]

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
    inputs = [*expand_paths(data_path, reader=reader), *data_path, *more_inputs]
    check_output(output_path, inputs=inputs, endings=(".jsonl",), overwrite=overwrite)


def annotate_files(
    predictor: EntityClassificationPredictor,
    data_path: Sequence[str],
    output_path: str,
    *,
    reader: AnyReader = None,
    processors: ProcessorChoice | None = None,
    layers: Layers,
    first: int = 0,
    every: int = 1,
) -> int:
    """Write every document with its predictions, a JSON line each, in order; return how many.

    The file appears when it is whole; what stood there before stays until then. ``first`` and ``every`` choose a share
    of the documents. Raises DataError for a document that has a layer of the name already, and for a file that is there
    already, unless told to overwrite, and ConfigError for a place where nothing is written (see `check_output`).
    """
    check_output_path(output_path, data_path, reader=reader, overwrite=layers.overwrite)
    layers.check(predictor)
    waiting: deque[Document] = deque()

    def documents() -> Iterator[Document]:
        found = iter_documents(data_path, reader=reader, first=first, every=every)
        for located in processed(found, processors or ()):
            _check(located, layers, predictor)
            waiting.append(located.document)
            yield located.document

    count, start = 0, time.monotonic()
    news = start + _SECONDS_BETWEEN_NEWS
    with open_output(output_path) as file:
        for entities in predictor.predict_many(documents(), merge=layers.merge, min_score=layers.min_score):
            document = waiting.popleft()
            layers.annotate(document, entities, predictor)
            file.write(document.to_bytes() + b"\n")
            count += 1
            if time.monotonic() > news:
                _log.info("%d documents, %.1f a second", count, count / (time.monotonic() - start))
                news = time.monotonic() + _SECONDS_BETWEEN_NEWS
    for line in predictor.issues.lines():
        _log.warning("%s", line)
    _log.info("%d documents in %.1f s", count, time.monotonic() - start)
    return count


def _check(located: LocatedDocument, layers: Layers, predictor: EntityClassificationPredictor) -> None:
    if layers.overwrite:
        return
    for name in layers.names(predictor):
        if name in located.document.layers:
            raise DataError(
                f"there is a layer {name!r} already: choose another layer_name, or type overwrite=true",
                path=located.path,
                line=located.line,
            )

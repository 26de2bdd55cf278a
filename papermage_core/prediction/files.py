"""Files of documents → files of the same documents with the predicted layer."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import attrs

from papermage_core.data.readers import expand_paths, iter_documents
from papermage_core.document import Document, Entity
from papermage_core.errors import ConfigError, DataError
from papermage_core.files import whole_file
from papermage_core.plugin.spec import DocumentReader, LocatedDocument
from papermage_core.prediction.predictor import EntityClassificationPredictor

__all__ = ["Layers", "annotate_files"]

_log = logging.getLogger(__name__)
_SECONDS_BETWEEN_NEWS = 10.0


@attrs.frozen(kw_only=True)
class Layers:
    """Where predictions go in a document."""

    name: str = "predictions"
    per_label: bool = False
    """Each label's entities in a layer of the label's name, in place of one layer for all."""
    overwrite: bool = False
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


def annotate_files(
    predictor: EntityClassificationPredictor,
    data_path: Sequence[str],
    output_path: str,
    *,
    reader: DocumentReader,
    layers: Layers,
    first: int = 0,
    every: int = 1,
) -> int:
    """Write every document with its predictions, a JSON line each, in order; return how many.

    The file appears when it is whole; what stood there before stays until then. ``first`` and ``every`` choose a share
    of the documents. Raises DataError for a document that has a layer of the name already, unless told to overwrite.
    """
    _check_output(output_path, data_path, reader)
    layers.check(predictor)
    waiting: deque[Document] = deque()

    def documents() -> Iterator[Document]:
        for located in iter_documents(data_path, reader=reader, first=first, every=every):
            _check(located, layers, predictor)
            waiting.append(located.document)
            yield located.document

    count, start = 0, time.monotonic()
    news = start + _SECONDS_BETWEEN_NEWS
    with _output(output_path) as file:
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


def _check_output(output_path: str, data_path: Sequence[str], reader: DocumentReader) -> None:
    if output_path == "-":
        return
    target = Path(output_path).resolve()
    if target.suffix == ".parquet":
        raise ConfigError(f"output_path={output_path}: JSON Lines are written; choose a name in .jsonl or .jsonl.gz")
    suffixes = getattr(reader, "suffixes", (".jsonl", ".jsonl.gz"))
    if any(path.resolve() == target for path in expand_paths(data_path, suffixes=suffixes)):
        raise ConfigError(f"output_path={output_path}: this is one of the inputs; choose another place")


@contextmanager
def _output(path: str) -> Iterator[IO[bytes]]:
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        yield file

"""The processor ``predictor``: a trained predictor, whose entities become a layer."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from papermage_core.document import Document
from papermage_core.errors import ConfigError
from papermage_core.plugin import DocumentProcessorConfig, hookimpl, option

if TYPE_CHECKING:
    from papermage_core.prediction import EntityClassificationPredictor

__all__ = ["PredictorConfig", "papermage_document_processor"]

_log = logging.getLogger(__name__)
_HERE = Path()
_AT_ONCE = 128
"""Most documents that are held for a batch, however short they are."""


@attrs.frozen(kw_only=True)
class PredictorConfig(DocumentProcessorConfig):
    """What a trained predictor finds, as a layer."""

    model_name_or_path: Path = option(help="the checkpoint folder, or that of the run")
    layer_name: str = option("predictions", help="layer to put the entities in")
    min_score: float | Mapping[str, float] | None = option(
        None, help="leave out entities scored below; min_score.Disease=0.8: of one label", ge=0, le=1
    )
    batch_size: int | None = option(None, help="windows in a batch; none: the encoder's own", ge=1)
    device: str | None = option(None, help="cpu, cuda, cuda:1; none: the GPU where there is one")

    @property
    def makes(self) -> tuple[str, ...]:
        """The layer of the entities."""
        return (self.layer_name,)

    @property
    def fingerprint(self) -> str:
        """A hash of the checkpoint."""
        from papermage_core.prediction import checkpoint_digest

        return checkpoint_digest(self.model_name_or_path)

    def save(self, folder: Path) -> PredictorConfig:
        """Copy the checkpoint."""
        from papermage_core.prediction import copy_checkpoint

        copy_checkpoint(self.model_name_or_path, folder)
        return attrs.evolve(self, model_name_or_path=_HERE, device=None)

    def load(self, folder: Path) -> PredictorConfig:
        """Return the config of the copy, on whatever device there is."""
        return attrs.evolve(self, model_name_or_path=folder, device=None)

    def build(self) -> PredictorProcessor:
        """Return a new processor. Raises CheckpointError, and ConfigError for a layer that the predictor reads."""
        from papermage_core.prediction import EntityClassificationPredictor

        # A process that was forked from one that uses a GPU cannot use it.
        device = "cpu" if self.device is None and multiprocessing.current_process().daemon else self.device
        predictor = EntityClassificationPredictor.from_pretrained(
            self.model_name_or_path, batch_size=self.batch_size, device=device
        )
        if self.layer_name in (predictor.entity_name, predictor.context_name):
            raise ConfigError(f"layer_name={self.layer_name}: this is a layer that the predictor reads; name another")
        return PredictorProcessor(predictor, self.layer_name, self.min_score)


@attrs.frozen
class PredictorProcessor:
    """Adds a layer of predicted entities to each document that has none of its name."""

    predictor: EntityClassificationPredictor
    layer_name: str
    min_score: float | Mapping[str, float] | None = None

    def process(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the same documents, in order, with the layer; those that lack it are gathered to batches."""
        for has_it, group in itertools.groupby(documents, lambda document: document.has_layer(self.layer_name)):
            take = iter if has_it else self._annotated
            yield from take(group)
        for line in self.predictor.issues.lines():
            _log.warning("%s", line)

    def _annotated(self, documents: Iterator[Document]) -> Iterator[Document]:
        for first in documents:
            yield from self._batch(itertools.chain([first], itertools.islice(documents, _AT_ONCE - 1)))

    def _batch(self, documents: Iterable[Document]) -> Iterator[Document]:
        waiting: deque[tuple[Document, list[str]]] = deque()

        def noted() -> Iterator[Document]:
            for document in documents:
                waiting.append((document, document.layer_names))
                yield document

        for entities in self.predictor.predict_many(noted(), min_score=self.min_score, mixed=True):
            document, former = waiting.popleft()
            for name in document.layer_names:
                if name not in former:  # the predictor's own processors made it
                    document.remove_layer(name)
            document.annotate_layer(self.layer_name, entities)
            yield document


@hookimpl
def papermage_document_processor(name: str) -> type[PredictorConfig]:
    """Return the config class."""
    return PredictorConfig

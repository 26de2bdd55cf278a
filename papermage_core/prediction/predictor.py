"""A trained predictor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from papermage_core import checkpoint
from papermage_core.data.alignment import Places, place_units
from papermage_core.data.contexts import make_contexts
from papermage_core.data.issues import Issues
from papermage_core.data.pieces import make_pieces
from papermage_core.data.windows import Piece
from papermage_core.document import Document, Entity
from papermage_core.evaluation import Calibration
from papermage_core.model.blueprint import Blueprint
from papermage_core.model.entity_model import EntityModel
from papermage_core.model.inference import BatchLimits, decode_pieces, document_spans, pick_device
from papermage_core.plugin.extensions import Extensions
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import Context, HeadOutput
from papermage_core.prediction.entities import best_tags, merged_entity, unit_entity

__all__ = ["EntityClassificationPredictor"]

_BATCHES_AT_ONCE = 32
"""How many batches' worth of documents are read ahead, so that contexts of like length can run together."""


@attrs.frozen(eq=False)
class _Prepared:
    document: Document
    places: Places
    contexts: Sequence[Context]


class EntityClassificationPredictor:
    """Finds in documents what it was trained to find.

    Predictions are `Entity` objects with ``metadata.label`` and ``metadata.score``, the probability that the entity is
    right, calibrated where the checkpoint knows how. ``issues`` counts what was odd in the documents so far.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        model: EntityModel,
        *,
        calibration: Mapping[str, Calibration] | None = None,
        batch_size: int | None = None,
        extensions: Extensions | None = None,
    ) -> None:
        self.blueprint = blueprint
        self.model = model
        self.issues = Issues()
        self._calibration = calibration or {}
        device = next(model.parameters()).device
        self._limits = BatchLimits.without_gradient(blueprint.encoder, batch_size, device)
        self._extensions = extensions if extensions is not None else Extensions()

    @classmethod
    def from_pretrained(
        cls,
        model_name_or_path: str | Path,
        entity_name: str | None = None,
        context_name: str | None = None,
        batch_size: int | None = None,
        device: str | None = None,
        *,
        plugins_path: Sequence[str | Path] = (),
        extensions: Sequence[str] = (),
    ) -> EntityClassificationPredictor:
        """Return the predictor that a checkpoint folder holds.

        ``entity_name`` and ``context_name`` default to those it was trained with; ``device`` to the GPU where there is
        one. Raises CheckpointError where the folder cannot be read, PluginError where a plugin it needs is missing,
        ConfigError for a device that is not there.
        """
        plugins = Plugins([Path(path) for path in plugins_path])
        loaded = checkpoint.load(model_name_or_path, pick_device(device or "auto"), plugins)
        blueprint = attrs.evolve(
            loaded.blueprint,
            entity_name=entity_name or loaded.blueprint.entity_name,
            context_name=context_name or loaded.blueprint.context_name,
        )
        found = loaded.calibration or {}
        calibration = {name: Calibration.from_json(value) for name, value in found.items()}
        return cls(
            blueprint,
            loaded.model,
            calibration=calibration,
            batch_size=batch_size,
            extensions=plugins.extensions(extensions),
        )

    @property
    def entity_name(self) -> str:
        """The layer whose entities are labelled."""
        return self.blueprint.entity_name

    @property
    def context_name(self) -> str:
        """The layer whose entities are read as a whole."""
        return self.blueprint.context_name

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels it can give."""
        return tuple(label for task in self.blueprint.tasks for label in task.labels)

    def predict(self, doc: Document, merge: bool = True, min_score: float | None = None) -> list[Entity]:
        """Return the entities found in a document, by their place; with ``merge=False`` one entity for each unit.

        Units are labelled with tags such as ``B-bibs``. Entities scored below ``min_score`` are left out; units never
        are. The document is not changed. Raises DataError where it lacks a layer, TypeError for what is no document,
        ValueError for a ``min_score`` outside 0 to 1.
        """
        return next(self.predict_many([doc], merge=merge, min_score=min_score))

    def predict_many(
        self, docs: Iterable[Document], merge: bool = True, min_score: float | None = None
    ) -> Iterator[list[Entity]]:
        """Yield what ``predict`` gives for each document, in order, reading only a little ahead."""
        if min_score is not None and not 0 <= min_score <= 1:
            raise ValueError(f"min_score: expected a number from 0 to 1, got {min_score!r}")
        waiting: list[_Prepared] = []
        pieces: list[Piece] = []
        batches = 0.0
        for doc in docs:
            prepared = self._prepare(doc)
            waiting.append(prepared)
            more = make_pieces(self.model.encoder, prepared.contexts, self.blueprint.stride)
            pieces += more
            batches += self._batches(more)
            if batches >= _BATCHES_AT_ONCE:
                yield from self._run(waiting, pieces, merge, min_score)
                waiting, pieces, batches = [], [], 0.0
        yield from self._run(waiting, pieces, merge, min_score)

    def _batches(self, pieces: Sequence[Piece]) -> float:
        """Return how many batches pieces fill."""
        if self._limits.size is not None:
            return sum(len(piece.windows) for piece in pieces) / self._limits.size
        return sum(piece.cost for piece in pieces) / self._limits.cost

    def _prepare(self, doc: Document) -> _Prepared:
        if not isinstance(doc, Document):
            raise TypeError(f"expected a Document, got {type(doc).__name__}")
        name = doc.id or "(unnamed)"
        places = place_units(doc, self.entity_name, self.context_name, self.issues, name)
        contexts = make_contexts(doc, self.entity_name, places, self.blueprint.encoder.needs) if places.units else []
        return _Prepared(doc, places, contexts)

    def _run(
        self, documents: Sequence[_Prepared], pieces: Sequence[Piece], merge: bool, min_score: float | None
    ) -> Iterator[list[Entity]]:
        outputs = decode_pieces(self.model, pieces, self._limits, next(self.model.parameters()).device)
        first = 0
        for prepared in documents:
            of_contexts = outputs[first : first + len(prepared.contexts)]
            first += len(prepared.contexts)
            of_contexts = [self._adjust(prepared, *pair) for pair in zip(prepared.contexts, of_contexts, strict=True)]
            yield self._merged(prepared, of_contexts, min_score) if merge else self._units(prepared, of_contexts)

    def _adjust(self, prepared: _Prepared, context: Context, of_tasks: list[HeadOutput]) -> list[HeadOutput]:
        if not len(self._extensions):
            return of_tasks
        return [self._extensions.papermage_adjust_predictions(prepared.document, context, found) for found in of_tasks]

    def _merged(
        self, prepared: _Prepared, outputs: Sequence[Sequence[HeadOutput]], min_score: float | None
    ) -> list[Entity]:
        layer = prepared.document.get_layer(self.entity_name)
        spans = [
            span
            for of_tasks, units in zip(outputs, prepared.places.units, strict=True)
            for span in document_spans(of_tasks, units)
        ]
        spans.sort()
        raw = [1.0 if span.score is None else span.score for span in spans]
        scores = self._calibrated("entity", raw)
        return [
            merged_entity(span, layer, score)
            for span, score in zip(spans, scores, strict=True)
            if min_score is None or score >= min_score
        ]

    def _units(self, prepared: _Prepared, outputs: Sequence[Sequence[HeadOutput]]) -> list[Entity]:
        layer = prepared.document.get_layer(self.entity_name)
        entities: list[Any] = [None] * len(layer)
        for of_tasks, units in zip(outputs, prepared.places.units, strict=True):
            tags = [[found.tag_names[tag] for tag in found.tags.tolist()] for found in of_tasks]
            scores = [self._calibrated("unit", found.scores) for found in of_tasks]
            for position, unit in enumerate(units.tolist()):
                tag, score = best_tags([of[position] for of in tags], [of[position] for of in scores])
                entities[unit] = unit_entity(layer[unit], tag, score)
        return entities

    def _calibrated(self, what: str, scores: Any) -> list[float]:
        values = np.asarray(scores, np.float64)
        found = self._calibration.get(what)
        result: list[float] = (values if found is None else found.apply(values)).tolist()
        return result

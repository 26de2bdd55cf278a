"""A trained predictor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from papermage_core import checkpoint
from papermage_core.config.booleans import booleans_only
from papermage_core.config.by_label import ByLabel, check_labels, lowest_scores
from papermage_core.config.extensions import ExtensionChoice
from papermage_core.config.processors import ProcessorChoice
from papermage_core.data.batches import BatchLimits
from papermage_core.data.issues import Issues
from papermage_core.data.processors import processed
from papermage_core.data.units import ParsedDocument, Parser
from papermage_core.document import Document, Entity, Layer
from papermage_core.errors import DataError
from papermage_core.evaluation import Calibration, Profile
from papermage_core.evaluation.guarantees import LEAST, Aim, Guarantees
from papermage_core.evaluation.shift import Reference, ShiftMonitor
from papermage_core.model.adjusting import adjusted
from papermage_core.model.blueprint import Blueprint
from papermage_core.model.entity_model import EntityModel
from papermage_core.model.forks import check_threads, forks
from papermage_core.model.inference import decode_documents, document_spans, pick_device
from papermage_core.model.precision import Backend, Precision
from papermage_core.plugin.blame import blaming
from papermage_core.plugin.extensions import Extensions
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import DocumentProcessorConfig, HeadOutput, UnitSpan
from papermage_core.prediction.entities import best_tags, merged_entities, unit_entity
from papermage_core.prediction.explaining import Explanation, explained

__all__ = ["EntityClassificationPredictor", "as_document"]

_UNNAMED = 0.5
"""Least probability of entities of labels that were not named: of those that overlap, one at most has more."""


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
        processors: ProcessorChoice | str | Sequence[str | DocumentProcessorConfig] = (),
        guarantees: Guarantees | None = None,
        reference: Reference | None = None,
        profile: Profile | None = None,
    ) -> None:
        self.guarantees = guarantees
        self.shift = ShiftMonitor(reference)
        self._profile = profile
        self.blueprint = blueprint
        self.model = model
        self.processors = processors
        self.issues = Issues()
        self._calibration = calibration or {}
        device = model.device
        self._limits = BatchLimits.without_gradient(blueprint.encoder, batch_size, device)
        self._extensions = extensions if extensions is not None else Extensions()
        self._forks = forks()

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
        extensions: ExtensionChoice | Sequence[str] | Mapping[str, Mapping[str, Any]] = (),
        processors: ProcessorChoice | str | Sequence[str | DocumentProcessorConfig] = (),
        backend: Backend | None = None,
        precision: Precision | None = None,
    ) -> EntityClassificationPredictor:
        """Return the predictor that a checkpoint folder holds, or one on the hub: ``hf:owner/name@revision``.

        ``entity_name`` and ``context_name`` default to those it was trained with; ``device`` to the GPU where there is
        one. ``extensions`` are called in their order; ``{"repeats": {"min_score": 0.9}}`` names them with options.
        ``processors``, such as ``"tokens,sentences"``, add layers before those of the checkpoint do. With
        ``backend="onnx"``, ONNX Runtime runs the encoder, which is exported for it first; what ``papermage-export``
        wrote it always runs. ``precision`` is ``"fp32"``, ``"bf16"`` or ``"int8"``, or ``"auto"`` for the fastest that
        finds the same in the first documents; by default as the encoder chooses. Raises CheckpointError where the
        folder cannot be read, PluginError where a plugin it needs is missing, ConfigError for a device that is not
        there and for a backend or precision that cannot be had, PapermageError in a process that was forked after
        PyTorch was used, and has several threads.
        """
        plugins = Plugins([Path(path) for path in plugins_path])
        chosen = (
            extensions if isinstance(extensions, ExtensionChoice) else ExtensionChoice.of(extensions, plugins.paths)
        )
        place = pick_device(device or "auto")
        loaded = checkpoint.load(model_name_or_path, place, plugins, backend=backend, precision=precision)
        blueprint = loaded.blueprint.reading(entity_name, context_name)
        found = loaded.calibration or {}
        calibration = {name: Calibration.from_json(value) for name, value in found.items()}
        return cls(
            blueprint,
            loaded.model,
            calibration=calibration,
            batch_size=batch_size,
            extensions=chosen.load(),
            processors=processors,
            guarantees=checkpoint.read_guarantees(loaded.facts),
            reference=checkpoint.read_reference(loaded.facts),
            profile=checkpoint.read_profile(model_name_or_path),
        )

    @property
    def entity_name(self) -> str:
        """The layer whose entities are labelled."""
        return self.blueprint.labelling.entity_name

    @property
    def context_name(self) -> str:
        """The layer whose entities are read as a whole."""
        return self.blueprint.labelling.context_name

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels it can give."""
        return self.blueprint.labels

    @booleans_only
    def predict(
        self,
        doc: Document | str,
        merge: bool = True,
        min_score: ByLabel = None,
        *,
        min_recall: ByLabel = None,
        min_precision: ByLabel = None,
        recall: ByLabel = None,
        precision: ByLabel = None,
    ) -> list[Entity]:
        """Return the entities found in a document or a text, by their place; with ``merge=False`` one for each unit.

        They know their ``text``, ``label`` and ``score``. Units are labelled with tags such as ``B-bibs``. Entities
        scored below ``min_score`` are left out, with ``min_score={"Disease": 0.8}`` those of that label; units never
        are. The document is not changed, but for the layers that it lacks and the checkpoint's processors add. With
        ``min_recall=0.95``, all entities are given that it takes to miss at most one in twenty, which may overlap; with
        ``min_precision=0.9`` only so many that at most one in ten is wrong: as the checkpoint guarantees (see
        `papermage_core.evaluation.guarantees`), for all labels together, or for some with ``min_recall={"Disease":
        0.95}``; ``recall`` and ``precision`` say the same. Raises DataError where the document lacks a layer, TypeError
        for what is neither document nor text, ValueError for a ``min_score`` outside 0 to 1 or of a label that there is
        not, and for a share that the checkpoint cannot guarantee.
        """
        recall, precision = _one("recall", min_recall, recall), _one("precision", min_precision, precision)
        return next(self.predict_many([doc], merge=merge, min_score=min_score, recall=recall, precision=precision))

    @booleans_only
    def predict_many(
        self,
        docs: Iterable[Document | str],
        merge: bool = True,
        min_score: ByLabel = None,
        on_error: Callable[[Document, DataError], None] | None = None,
        *,
        mixed: bool = False,
        min_recall: ByLabel = None,
        min_precision: ByLabel = None,
        recall: ByLabel = None,
        precision: ByLabel = None,
        within: bool = False,
    ) -> Iterator[list[Entity]]:
        """Yield what ``predict`` gives for each document or text, in order, reading only a little ahead.

        With ``on_error``, a document that lacks a layer is handed over with the error, before the next one is looked
        at, and gives nothing. With ``mixed``, documents without the layer of contexts, which are read whole, may
        stand among others that have it; that is an error otherwise. With ``within``, units that lie in no context are
        not looked at; it wants whole entities, or raises ValueError. Raises PapermageError in a process that was forked
        after the predictor was loaded, and has several threads of PyTorch.
        """
        if self.model.device.type == "cpu":
            check_threads(self._forks)
        if isinstance(docs, (str, Document)):
            raise TypeError(f"predict_many takes several, and got one {type(docs).__name__}: call predict")
        lowest = lowest_scores(min_score, self.labels)
        recall, precision = _one("recall", min_recall, recall), _one("precision", min_precision, precision)
        thresholds, least = self._thresholds(recall, precision, merge)
        if within and not merge:
            raise ValueError("within=True gives whole entities only: what is in no context has no tag")
        parser = Parser(self.blueprint.labelling, self.blueprint.needs, self.issues, within=within)
        device = self.model.device
        documents = processed(processed(map(as_document, docs), self.processors), self.blueprint.processors)
        parsed = self._parsed(documents, parser, on_error, mixed)
        with blaming():
            found = decode_documents(self.model, parsed, self.blueprint.stride, self._limits, device, least)
            for document, outputs in found:
                said = adjusted(self._extensions, document, outputs, self.blueprint.built_tasks)
                if merge:
                    yield self._merged(document, said, lowest, thresholds)
                else:
                    yield self._units(document, said)

    def explain(self, doc: Document | str, entity: Entity, *, by: str | None = None) -> Explanation:
        """Return which units of its context carry an entity: of a prediction, or one that was not found and should be.

        Each unit is hidden in turn, and what is left of the entity's score tells what it carries (leave-one-out
        erasure, [Li et al. 2016](https://arxiv.org/abs/1612.08220)). To hide a unit is the same for every encoder: in
        its context the word ``□`` stands in its place, and all else stays (boxes, white space, layers around it,
        metadata, pictures, contexts before and after). With ``by="sentences"`` the units of each entity of that layer
        are hidden together; in contexts of more than 512 units neighbours are. It takes as many predictions of the
        context as there is to hide. Scores are those of encoder, head and calibration; extensions are not asked. Raises
        ValueError for an entity of a label that there is not, or that is not made of units of one context, DataError
        where the document lacks a layer.

        >>> print(predictor.explain(doc, predictor.predict(doc)[0]))  # doctest: +SKIP
        """
        label = entity.metadata.get("label", None)
        if label is None:
            raise ValueError("explain: the entity has no label: give one of predict, or set its metadata.label")
        check_labels("explain", {str(label): 1.0}, self.labels)
        (task,) = [number for number, each in enumerate(self.blueprint.tasks) if label in each.labels]
        needs = self.blueprint.needs
        more = attrs.evolve(needs, groups=tuple(dict.fromkeys((*needs.groups, *([by] if by else ())))))
        parser = Parser(self.blueprint.labelling, more, Issues())
        (document,) = processed(processed([as_document(doc)], self.processors), self.blueprint.processors)
        if by is not None and not document.has_layer(by):
            raise DataError(f"explain: there is no layer {by!r} to hide units by", document=document.id)
        parsed = parser.parse(document, document.id or "(unnamed)", keep=True)
        groups = None if by is None else np.full(parsed.n_units, -1, np.int32)
        for context, units in zip(parsed.contexts, parsed.units, strict=True):
            if by is not None and groups is not None:
                groups[units] = context.groups[by]
        contexts = [
            attrs.evolve(each, groups={name: each.groups[name] for name in needs.groups}) for each in parsed.contexts
        ]

        def decode(documents: Iterable[ParsedDocument]) -> Iterator[tuple[ParsedDocument, list[list[HeadOutput]]]]:
            device = self.model.device
            return decode_documents(self.model, documents, self.blueprint.stride, self._limits, device, LEAST)

        with blaming():
            scored = partial(self._calibrated, "entity")
            return explained(attrs.evolve(parsed, contexts=contexts), entity, decode, task, scored, groups)

    @booleans_only
    def check_shares(self, recall: ByLabel = None, precision: ByLabel = None, merge: bool = True) -> None:
        """Raise ValueError for a recall or precision that the checkpoint does not guarantee."""
        self._thresholds(recall, precision, merge)

    def _thresholds(
        self, recall: ByLabel, precision: ByLabel, merge: bool
    ) -> tuple[Mapping[str, float] | None, float | None]:
        """Return the least probability of a label's entities, and that of any, if entities that overlap are given.

        Labels that are not named are left as they are found: they have no least one, or where entities that overlap are
        given, that of those of which one at most is likelier than not.
        """
        if recall is None and precision is None:
            return None, None
        if recall is not None and precision is not None:
            raise ValueError("min_recall and min_precision: give one of the two")
        if not merge:
            raise ValueError("min_recall and min_precision are of whole entities: leave out merge=False")
        aim: Aim = "recall" if recall is not None else "precision"
        given = recall if recall is not None else precision
        if self.guarantees is None:
            raise ValueError(
                f"min_{aim}={given}: the checkpoint guarantees nothing yet; fit it on labelled documents that it was "
                "not trained on: papermage-evaluate model_name_or_path=... data_path=... guarantee=true"
            )
        check_labels(f"min_{aim}", given, self.labels)
        if not isinstance(given, Mapping):
            assert given is not None
            found = dict.fromkeys(self.labels, self.guarantees.threshold(aim, given))
            return found, min(found.values()) if aim == "recall" else None
        named = {label: self.guarantees.threshold(aim, share, label) for label, share in given.items()}
        if aim == "recall" and named:
            return dict.fromkeys(self.labels, _UNNAMED) | named, min(named.values())
        return named, None

    def _parsed(
        self,
        docs: Iterable[Document],
        parser: Parser,
        on_error: Callable[[Document, DataError], None] | None,
        mixed: bool,
    ) -> Iterator[ParsedDocument]:
        for doc in docs:
            if mixed:
                parser.reads_whole = None
            try:
                parsed = parser.parse(doc, doc.id or "(unnamed)", keep=True)
            except DataError as error:
                if on_error is None:
                    raise
                on_error(doc, error)
            else:
                yield parsed

    def _merged(
        self,
        parsed: ParsedDocument,
        outputs: Sequence[Sequence[HeadOutput]],
        lowest: Callable[[str], float],
        thresholds: Mapping[str, float] | None,
    ) -> list[Entity]:
        layer = self._layer(parsed)
        spans = [
            span
            for of_tasks, units in zip(outputs, parsed.units, strict=True)
            for span in document_spans(of_tasks, units)
        ]
        if thresholds is not None:
            spans = [s for s in spans if s.score is None or s.score >= thresholds.get(s.label, 0.0)]
        spans.sort()
        scores = self._calibrated("entity", [1.0 if span.score is None else span.score for span in spans])
        if thresholds is None and self._profile is not None:
            self._watch(parsed, spans, scores)
        kept = [score >= lowest(span.label) for span, score in zip(spans, scores, strict=True)]
        return merged_entities([*compress(spans, kept)], layer, [*compress(scores, kept)], parsed.order)

    def _watch(self, parsed: ParsedDocument, spans: Sequence[UnitSpan], scores: Sequence[float]) -> None:
        """Take in how unlike the training data a document is."""
        assert self._profile is not None
        unknown = self._profile.unknown(word for context in parsed.contexts for word in context.words)
        self.shift.add(unknown, scores)

    def _layer(self, parsed: ParsedDocument) -> Layer:
        assert parsed.document is not None
        return parsed.document.get_layer(self.entity_name)

    def _units(self, parsed: ParsedDocument, outputs: Sequence[Sequence[HeadOutput]]) -> list[Entity]:
        layer = self._layer(parsed)
        entities: list[Any] = [None] * len(layer)
        for of_tasks, units in zip(outputs, parsed.units, strict=True):
            tags = [[found.tag_names[tag] for tag in found.tags.tolist()] for found in of_tasks]
            scores = [self._calibrated("unit", found.scores) for found in of_tasks]
            for position, unit in enumerate(parsed.indices(units).tolist()):
                tag, score = best_tags([of[position] for of in tags], [of[position] for of in scores])
                entities[unit] = unit_entity(layer[unit], tag, score)
        return entities

    def _calibrated(self, what: str, scores: Any) -> list[float]:
        values = np.asarray(scores, np.float64)
        found = self._calibration.get(what)
        result: list[float] = (values if found is None else found.apply(values)).tolist()
        return result


def as_document(given: Document | str) -> Document:
    """Return a document as it is, and a text as one. Raises TypeError for all else."""
    if isinstance(given, str):
        return Document.from_text(given or " ")  # a document has text; in white space nothing is found
    if not isinstance(given, Document):
        hint = "; papermage_core.read_documents reads files" if isinstance(given, Path) else ""
        error = TypeError(f"expected a Document or a text, got {type(given).__name__}{hint}")
        error.is_nobodys_fault = True  # the processor that asks for it is right
        raise error
    return given


def _one(name: str, share: ByLabel, same: ByLabel) -> ByLabel:
    if share is not None and same is not None:
        raise ValueError(f"min_{name} and {name} are one: give one of the two")
    return same if share is None else share

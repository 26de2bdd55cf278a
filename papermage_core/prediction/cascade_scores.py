"""How good the stages of a cascade are: each alone, on gold contexts, and end to end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs

from papermage_core.config.cascade import CascadeConfig, CascadeStage
from papermage_core.document import Document, Layer
from papermage_core.document.queries import unit_ranges
from papermage_core.evaluation import Scorer, Scores
from papermage_core.plugin.spec import UnitSpan
from papermage_core.prediction.recipe import Recipe, Stage

__all__ = ["CascadeScores", "StageScores", "score_cascade"]


@attrs.frozen(kw_only=True)
class StageScores:
    """Strict scores of a stage; None where no document has the gold that they want."""

    alone: Scores | None
    """What it finds where the stages before it are right: their gold stands in their place."""
    end_to_end: Scores | None
    """What it finds where they are as they are."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {name: None if scores is None else scores.to_json() for name, scores in vars_of(self).items()}


def vars_of(scores: StageScores) -> dict[str, Scores | None]:
    """Return both scores by name."""
    return {"alone": scores.alone, "end_to_end": scores.end_to_end}


@attrs.frozen(kw_only=True)
class CascadeScores:
    """The scores of each stage, by name."""

    stages: Mapping[str, StageScores]
    documents: int


def score_cascade(recipe: Recipe, config: CascadeConfig, documents: Callable[[], Iterable[Document]]) -> CascadeScores:
    """Return the scores of the stages over labelled documents, which are gone through twice.

    A document counts for a stage if it has the stage's gold, and that of all stages that this one builds on.
    """
    ready = {stage.name: stage for stage in recipe.stages}
    makes = {name for stage in config.stages for name in (*stage.makes, *stage.config.label_field)}
    whole = {stage.name: Scorer(stage.predict.labels or ()) for stage in config.stages}
    alone = {stage.name: Scorer(stage.predict.labels or ()) for stage in config.stages}
    count = 0
    waiting: deque[Document] = deque()

    def without_gold() -> Iterator[Document]:
        for document in documents():
            waiting.append(document)
            copy = _copy(document)
            for name in makes:
                copy.remove_layer(name)
            yield copy

    for found in recipe.run(without_gold()):
        gold = waiting.popleft()
        count += 1
        for number, stage in enumerate(config.stages):
            if all(_has_gold(gold, config.stages[each]) for each in (*config.needs(number), number)):
                _add(whole[stage.name], stage, gold, found)
    for stage in config.stages:
        chosen = (each for each in documents() if _has_gold(each, stage))
        for gold, found in _alone(ready[stage.name], chosen, stage):
            _add(alone[stage.name], stage, gold, found)
    scored = {
        stage.name: StageScores(alone=_scores(alone[stage.name]), end_to_end=_scores(whole[stage.name]))
        for stage in config.stages
    }
    return CascadeScores(stages=scored, documents=count)


def _scores(scorer: Scorer) -> Scores | None:
    scores = scorer.scores()
    return scores if scores.documents else None


def _copy(document: Document) -> Document:
    return Document.from_bytes(document.to_bytes())


def _has_gold(document: Document, stage: CascadeStage) -> bool:
    return any(map(document.has_layer, stage.config.label_field))


def _alone(stage: Stage, documents: Iterable[Document], of: CascadeStage) -> Iterator[tuple[Document, Document]]:
    """Yield each document with a copy that a stage read, its own gold taken away and that of others left."""
    for document in documents:
        copy = _copy(document)
        for name in {*stage.makes, *of.config.label_field}:
            copy.remove_layer(name)
        if of.gold_context_name and copy.has_layer(of.gold_context_name) and not copy.has_layer(of.config.context_name):
            copy.annotate_layer(of.config.context_name, Layer.from_json(copy.get_layer(of.gold_context_name).to_json()))
        if stage.problem(copy) is None:
            stage.run([copy])
            yield document, copy


def _add(scorer: Scorer, stage: CascadeStage, gold: Document, found: Document) -> None:
    """Count a document, in units as it was read."""
    units = gold.get_layer(stage.config.entity_name)
    wanted: list[UnitSpan] = []
    lost: list[str] = []
    for name in filter(gold.has_layer, stage.config.label_field):
        layer = gold.get_layer(name)
        attribute = stage.config.label_attribute
        labels = (layer.metadata_column(attribute) if attribute else None) or [None] * len(layer)
        for label, segments in zip(labels, _segments(layer, units), strict=True):
            label = name if label is None else str(label)
            if stage.predict.labels and label not in stage.predict.labels:
                continue
            if segments:
                wanted.append(UnitSpan.joining(label, segments))
            else:
                lost.append(label)
    predicted = []
    for name in filter(found.has_layer, stage.makes):
        layer = found.get_layer(name)
        labels = layer.metadata_column("label") or [name] * len(layer)
        for label, segments in zip(labels, _segments(layer, units), strict=True):
            if segments:
                predicted.append(UnitSpan.joining(str(label), segments))
    scorer.add(wanted, predicted, lost)


def _segments(layer: Layer, units: Layer) -> list[list[tuple[int, int]]]:
    segments: list[list[tuple[int, int]]] = [[] for _ in range(len(layer))]
    found = unit_ranges(layer, units)
    for entity, start, stop in zip(found.entity.tolist(), found.start.tolist(), found.stop.tolist(), strict=True):
        segments[entity].append((start, stop))
    return segments

"""How good the stages of a cascade are: each alone, on gold contexts, and end to end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from papermage_core.config.cascade import CascadeConfig, CascadeStage
from papermage_core.config.recipe import RecipeConfig
from papermage_core.document import Document, Layer
from papermage_core.document.queries import unit_ranges
from papermage_core.evaluation import Scorer, Scores
from papermage_core.plugin.spec import UnitSpan
from papermage_core.prediction.recipe import Recipe, Stage

__all__ = ["CascadeScores", "StageScores", "score_cascade"]


@attrs.frozen(kw_only=True)
class StageScores:
    """Strict scores of a stage; None where no document has the gold that they want."""

    start: str
    """The stage that documents begin at: the first of those that this one builds on."""
    alone: Scores | None
    """What it finds where the stages before it are right: their gold stands in their place."""
    end_to_end: Scores | None
    """What it finds where they are as they are."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        both = {"alone": self.alone, "end_to_end": self.end_to_end}
        scores = {name: None if found is None else found.to_json() for name, found in both.items()}
        return {"start": self.start, **scores}


@attrs.frozen(kw_only=True)
class CascadeScores:
    """The scores of each stage, by name."""

    stages: Mapping[str, StageScores]
    documents: int


def score_cascade(
    recipe: RecipeConfig, stages: Sequence[Stage], config: CascadeConfig, documents: Callable[[], Iterable[Document]]
) -> CascadeScores:
    """Return the scores of the stages over labelled documents, which are gone through several times.

    A document counts for a stage if it has the stage's gold, and that of all stages that this one builds on; it runs
    through these only, so documents may begin in the middle of the cascade.
    """
    chains = [(*config.needs(number), number) for number in range(len(stages))]
    whole = [Scorer(stage.predict.labels) for stage in config.stages]
    alone = [Scorer(stage.predict.labels) for stage in config.stages]
    for start in dict.fromkeys(chain[0] for chain in chains):
        ends = [number for number, chain in enumerate(chains) if chain[0] == start]
        run = Recipe(recipe, [stages[each] for each in sorted({each for end in ends for each in chains[end]})])
        for gold, found in _run(run, config, documents(), [chains[end] for end in ends]):
            for end in ends:
                if _counts(gold, config, chains[end]):
                    _add(whole[end], config.stages[end], gold, found)
    for number, stage in enumerate(config.stages):
        chosen = (each for each in documents() if _has_gold(each, stage))
        for gold, found in _alone(stages[number], chosen, stage):
            _add(alone[number], stage, gold, found)
    scored = {
        stage.name: StageScores(
            start=config.stages[chains[number][0]].name,
            alone=_scores(alone[number]),
            end_to_end=_scores(whole[number]),
        )
        for number, stage in enumerate(config.stages)
    }
    return CascadeScores(stages=scored, documents=sum(1 for _ in documents()))


def _run(
    recipe: Recipe, config: CascadeConfig, documents: Iterable[Document], chains: Sequence[Sequence[int]]
) -> Iterator[tuple[Document, Document]]:
    """Yield each document that counts for one of the chains, with a copy that went through them without its gold."""
    makes = {name for stage in config.stages for name in (*stage.makes, *stage.config.label_field)}
    waiting: deque[Document] = deque()

    def without_gold() -> Iterator[Document]:
        for document in documents:
            if any(_counts(document, config, chain) for chain in chains):
                waiting.append(document)
                copy = _copy(document)
                for name in makes:
                    copy.remove_layer(name)
                yield copy

    for found in recipe.run(without_gold()):
        yield waiting.popleft(), found


def _counts(document: Document, config: CascadeConfig, chain: Sequence[int]) -> bool:
    first = config.stages[chain[0]]
    has_contexts = first.gold_context_name is None or document.has_layer(first.gold_context_name)
    return has_contexts and all(_has_gold(document, config.stages[each]) for each in chain)


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

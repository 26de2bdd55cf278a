"""What extensions make of predictions, and the tags of single units that follow from it."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_core.data.labelling import Task
from papermage_core.data.units import ParsedDocument
from papermage_core.plugin.extensions import Extensions
from papermage_core.plugin.spec import HeadOutput, LabelScheme, UnitSpan

__all__ = ["adjusted", "with_tags_of_spans"]


def adjusted(
    extensions: Extensions, parsed: ParsedDocument, outputs: Sequence[Sequence[HeadOutput]], tasks: Sequence[Task]
) -> Sequence[Sequence[HeadOutput]]:
    """Return what extensions make of the predictions of each task in each context of a document.

    Where they changed the entities and not the tags, the tags follow. Extensions want the `Document` itself.
    """
    if not extensions.adjust():
        return outputs
    assert parsed.document is not None, "extensions want the documents"
    of_tasks = []
    for number, task in enumerate(tasks):
        before = [of_context[number] for of_context in outputs]
        after = extensions.adjusted(parsed.document, parsed.contexts, before, set(task.scheme.labels))
        of_tasks.append([with_tags_of_spans(*each, task.scheme) for each in zip(before, after, strict=True)])
    return list(zip(*of_tasks, strict=True)) if outputs else []


def with_tags_of_spans(before: HeadOutput, after: HeadOutput, scheme: LabelScheme) -> HeadOutput:
    """Return adjusted predictions with tags that say what the entities say; as they are where tags were adjusted, too.

    A unit's score stays while its tag does. With a new tag it has that of its entity; where the entity is gone, it is
    what the former tag left over.
    """
    same_spans = before.spans == after.spans and [s.score for s in before.spans] == [s.score for s in after.spans]
    if after is before or same_spans or not np.array_equal(before.tags, after.tags):
        return after
    spans = [span for span in after.spans if span.label in scheme.labels]
    if scheme.targets == "tags" and tuple(after.tag_names) == tuple(scheme.tags):
        tags = np.asarray(scheme.encode(_encodable(spans, scheme), len(after.tags)), np.int64)
    else:
        tags = _by_label(spans, after)
    scores = np.array(after.scores, np.float32)
    changed = tags != before.tags
    scores[changed] = 1 - scores[changed]
    for span in sorted(spans, key=_score):
        units = np.fromiter(span.units, np.int64)
        scores[units[changed[units]]] = _score(span)
    return attrs.evolve(after, tags=tags, scores=scores)


def _score(span: UnitSpan) -> float:
    return 1.0 if span.score is None else span.score


def _encodable(spans: Sequence[UnitSpan], scheme: LabelScheme) -> list[UnitSpan]:
    """Return what of the entities a scheme of tags can hold, the surest of those that overlap."""
    if not scheme.allows_discontinuous:
        spans = [UnitSpan(span.label, (segment,), span.score) for span in spans for segment in span.segments]
    kept: list[UnitSpan] = []
    taken: set[int] = set()
    for span in sorted(spans, key=lambda each: (-_score(each), each)):
        units = range(span.start, span.stop)
        if scheme.allows_overlap or taken.isdisjoint(units):
            kept.append(span)
            taken.update(units)
    return sorted(kept)


def _by_label(spans: Sequence[UnitSpan], output: HeadOutput) -> NDArray[np.int64]:
    """Return tags that are the labels of the surest entity over each unit, or ``O``, as heads over spans have them."""
    names = {name: index for index, name in enumerate(output.tag_names)}
    tags = np.full(len(output.tags), names.get("O", 0), np.int64)
    for span in sorted(spans, key=_score):
        if span.label in names:
            tags[np.fromiter(span.units, np.int64)] = names[span.label]
    return tags

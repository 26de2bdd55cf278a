"""Predictions in units → `Entity`, ready for ``annotate_layer``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from papermage_core.document import Box, Entity, Layer, Metadata, Span
from papermage_core.plugin.spec import UnitSpan

__all__ = ["merged_entity", "unit_entity"]


def merged_entity(span: UnitSpan, units: Layer, score: float | None) -> Entity:
    """Return the entity that covers a span of document units.

    It has one span for each segment, from the first character to the last, and one box for each page.
    """
    spans: list[Span] = []
    boxes: dict[int, list[Box]] = {}
    for start, stop in span.segments:
        covered = units[start:stop]
        places = [place for unit in covered for place in unit.spans]
        if places:
            spans.append(Span(min(p.start for p in places), max(p.end for p in places)))
        for unit in covered:
            for box in unit.boxes:
                boxes.setdefault(box.page, []).append(box)
    enclosing = [Box.create_enclosing_box(found) for found in boxes.values()]
    return Entity(spans=spans, boxes=enclosing, metadata=_metadata({}, span.label, score))


def unit_entity(unit: Entity, tag: str, score: float) -> Entity:
    """Return an entity in the place of a unit, with the unit's metadata and its tag."""
    metadata = _metadata(unit.metadata.to_json(), tag, score)
    return Entity(spans=list(unit.spans), boxes=list(unit.boxes), metadata=metadata)


def _metadata(values: dict[str, Any], label: str, score: float | None) -> Metadata:
    return Metadata(**values | {"label": label, "score": score})


def best_tags(tags: Sequence[str], scores: Sequence[float]) -> tuple[str, float]:
    """Return the tag that counts where several heads speak of one unit: the surest that is not ``O``, else ``O``."""
    said = [(score, tag) for tag, score in zip(tags, scores, strict=True) if tag != "O"]
    if said:
        score, tag = max(said)
        return tag, score
    return "O", min(scores)
